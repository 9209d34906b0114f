"""Positions are told apart when nothing is revealed yet: where every sample begins."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import spaces
from resgen_jax.generators import resgen
from resgen_jax.runs.configs import configuration

CONFIGS = sorted(pathlib.Path("configs/generators").glob("resgen_*.py"))
SPACE = spaces.image_codes((3, 4), depth=2, codebook_size=5, code_dim=4, num_classes=3)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_network_tells_positions_apart_when_all_is_masked(path):
    config = configuration.load(f"{path}:tiny")
    network = resgen.make(config.model, SPACE)
    params = network.init(jax.random.key(0))
    # Gates open: the rotary angles have their say, too.
    params["trunk"]["blocks"]["offset"] = jnp.ones_like(params["trunk"]["blocks"]["offset"])
    hidden = network.apply(
        params,
        jnp.zeros((1, SPACE.max_length, SPACE.codes.code_dim)),
        jnp.ones((1, SPACE.max_length, SPACE.codes.depth), bool),
        jnp.zeros(1, jnp.int32),
        method="hidden",
    )[0]
    distance = np.linalg.norm(hidden[:, None] - hidden[None], axis=-1)
    apart = distance[np.triu_indices(SPACE.max_length, 1)]
    assert np.min(apart) > 0.1 * np.mean(np.linalg.norm(hidden, axis=-1))
