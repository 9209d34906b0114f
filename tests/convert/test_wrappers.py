"""Prefixes that wrappers put before all names come off, and nothing else does."""

import numpy as np
import pytest

from resgen_jax.convert import wrappers

ARRAYS = {"encoder.weight": np.ones(2), "model.bias": np.zeros(3)}


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "first_stage_model.",
        "model.",
        "_orig_mod.",
        "module._orig_mod.",
        "module.model.",
    ],
)
def test_a_prefix_of_all_names_comes_off(prefix):
    found, taken = wrappers.unwrapped({prefix + name: each for name, each in ARRAYS.items()})
    assert taken == prefix
    assert found.keys() == ARRAYS.keys()
    assert all(found[name] is ARRAYS[name] for name in ARRAYS)


@pytest.mark.parametrize("names", [(), ("module.a", "b"), ("net.a", "net.b"), ("modules.a",)])
def test_other_names_stay(names):
    arrays = dict.fromkeys(names, np.ones(1))
    assert wrappers.unwrapped(arrays) == (arrays, "")


def test_the_counter_of_averaged_models_goes_with_their_prefix():
    wrapped = {f"module.{name}": each for name, each in ARRAYS.items()}
    found, taken = wrappers.unwrapped({"n_averaged": np.array(3), **wrapped})
    assert (found.keys(), taken) == (ARRAYS.keys(), "module.")
    alone = {"n_averaged": np.array(3), **ARRAYS}
    assert wrappers.unwrapped(alone) == (alone, "")


def test_a_name_of_nothing_but_prefixes_takes_no_time():
    found, taken = wrappers.unwrapped({"model." * 10**6: np.ones(1)})
    assert (taken, len(*found)) == ("model." * 4, 6 * (10**6 - 4))
