"""MaskGIT is ResGen's sampler with the code head at depth 1: there all ways of masking are one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import keys, spaces
from resgen_jax.generators import resgen, resgen_sampler
from resgen_jax.nn import transformer
from resgen_jax.processes import mask_schedules, masks

SPACE = spaces.image_codes((2, 4), depth=1, codebook_size=9, code_dim=4, num_classes=3)
MODEL = resgen.Spec(
    head="codes",
    mask_dim=2,
    trunk=transformer.Spec(
        num_layers=1, width=8, num_heads=2, mlp_width=12, modulation_width=6, remat="none"
    ),
)


@pytest.fixture(scope="module")
def draw():
    """Codes of three examples, revealed by a way of masking."""
    network = resgen.make(MODEL, SPACE)
    random = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, 0.5, leaf.shape), jnp.float32),
        jax.eval_shape(network.init, jax.random.key(0)),
    )
    codebooks = jnp.asarray(random.normal(size=(1, 9, 4)), jnp.float32)
    row_keys = keys.example_keys(jax.random.key(1), jnp.arange(3))

    def run(kind):
        spec = resgen_sampler.Spec(
            num_steps=4, masks=kind, proposal="codes", confidence="drawn", guidance_scale=1.5
        )
        sampler = resgen_sampler.Sampler(network, SPACE, spec.choices)
        plan = resgen_sampler.plan(spec, SPACE.num_tokens, depth=1)
        return np.asarray(sampler.sample(params, codebooks, row_keys, jnp.arange(3), plan))

    return run


def test_all_ways_of_masking_sample_alike(draw):
    expected = draw("coarse_first")
    assert len(np.unique(expected)) > 3
    for kind in set(masks.KINDS) - {"coarse_first"}:
        np.testing.assert_array_equal(draw(kind), expected)


@pytest.mark.parametrize("kind", masks.KINDS)
def test_all_ways_of_masking_hide_ceil_gamma_of_the_codes(kind):
    sample = jax.jit(lambda keys: masks.KINDS[kind].sample(keys, mask_schedules.cosine, 8, 1, 1.0))
    is_masked = np.asarray(sample(jax.random.split(jax.random.key(0), 4000)))
    np.testing.assert_array_equal(masks.KINDS[kind].taught(jnp.asarray(is_masked)), is_masked)
    edges = np.arccos(np.arange(9) / 8) * 2 / np.pi
    share = np.bincount(is_masked.sum(axis=(1, 2)), minlength=9)[1:] / 4000
    np.testing.assert_allclose(share, edges[:-1] - edges[1:], atol=0.03)
