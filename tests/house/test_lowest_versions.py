"""Every dependency has a lower bound; `.ci/run` installs these and tests them."""

import configparser
import importlib.metadata
import pathlib
import runpy

import pytest
from packaging import requirements, version

SCRIPT = pathlib.Path(__file__).parents[2] / "launch" / "lowest_versions.py"
lowest_versions = runpy.run_path(str(SCRIPT))
setup = configparser.ConfigParser()
setup.read(lowest_versions["SETUP"])
EXTRAS = tuple(setup["options.extras_require"])
# With jax's own extras for a kind of device, its version is that of install_requires.
OF_JAX = {"jax[cuda12]", "jax[cuda13]", "jax[tpu]"}


def test_every_dependency_has_one_lower_bound_and_no_other():
    wanted = set(lowest_versions["requirements"](EXTRAS)) - OF_JAX
    assert len(wanted) > 30
    for text in wanted:
        found = requirements.Requirement(text)
        assert [each.operator for each in found.specifier] == [">="], text
        assert lowest_versions["lowest"](text) == f"{found.name}=={text.partition('>=')[2]}"


def test_a_package_named_twice_has_the_same_bound():
    found = [requirements.Requirement(text) for text in lowest_versions["requirements"](EXTRAS)]
    bounds = {(each.name, str(each.specifier)) for each in found if str(each.specifier)}
    assert len(bounds) == len({name for name, _ in bounds})


def test_what_the_tests_run_on_is_not_below_the_bounds():
    for text in lowest_versions["requirements"]():
        found = requirements.Requirement(text)
        assert version.Version(importlib.metadata.version(found.name)) in found.specifier, text


@pytest.mark.parametrize("text", ["numpy", "numpy>2", "numpy>=2,<3", "numpy>=2; os_name=='nt'"])
def test_a_requirement_without_a_plain_bound_is_refused(text):
    with pytest.raises(ValueError, match="expected NAME>=VERSION"):
        lowest_versions["lowest"](text)
