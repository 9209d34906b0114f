"""A tiny ResGen whose gates are open, and codes for it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import spaces
from resgen_jax.generators import resgen
from resgen_jax.nn import functional, transformer


class Tiny(NamedTuple):
    """Network, random parameters, codebooks and a batch; only to be read."""

    spec: resgen.Spec
    space: spaces.Space
    network: functional.Network
    params: Any
    codebooks: jax.Array
    codes: jax.Array
    labels: jax.Array


@pytest.fixture(scope="session")
def tiny():
    """Two layers on a 2x3 grid of depth 3."""
    trunk = transformer.Spec(
        num_layers=2, width=8, num_heads=2, mlp_width=12, modulation_width=6, remat="none"
    )
    spec = resgen.Spec(trunk=trunk, num_components=4, rank=2, mask_dim=2)
    space = spaces.image_codes((2, 3), depth=3, codebook_size=7, code_dim=4, num_classes=5)
    network = resgen.make(spec, space)
    random = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(random.normal(0, 0.5, shape), jnp.float32)

    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return Tiny(
        spec=spec,
        space=space,
        network=network,
        params=jax.tree.map(lambda leaf: normal(*leaf.shape), shapes),
        codebooks=normal(3, 7, 4),
        codes=jnp.asarray(random.integers(0, 7, (4, 6, 3)), jnp.int32),
        labels=jnp.array([0, 3, 4, 3], jnp.int32),
    )
