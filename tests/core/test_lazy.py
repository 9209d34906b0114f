"""Modules of packages that are imported when they are asked for."""

import importlib

import pytest

from resgen_jax import cli, data
from resgen_jax.core import lazy


def test_a_module_is_its_package_attribute_and_no_other_name_is():
    get = lazy.modules("resgen_jax.core", ["keys"])
    assert get("keys") is importlib.import_module("resgen_jax.core.keys")
    with pytest.raises(AttributeError, match="'resgen_jax.core' has no attribute 'locks'"):
        get("locks")


@pytest.mark.parametrize(
    ("package", "name", "now"),
    [(data, "paths", "io.paths"), (cli, "configuration", "runs.configs.configuration")],
)
def test_what_has_moved_is_found_under_its_old_name(package, name, now):
    assert getattr(package, name) is importlib.import_module(f"resgen_jax.{now}")
    with pytest.raises(AttributeError):
        package.no_such_module  # noqa: B018
