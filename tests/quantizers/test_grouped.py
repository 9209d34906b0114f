"""Each group is an RVQ of its own channels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.quantizers import grouped, rvq


def test_each_group_is_an_rvq_of_its_own_channels(key):
    latents = jax.random.normal(key, (4, 5, 6))
    codebooks = jax.random.normal(jax.random.fold_in(key, 1), (2, 3, 8, 3))
    codes, remainder = jax.jit(grouped.encode)(latents, codebooks)
    assert codes.shape == (4, 5, 2, 3)
    for group in range(2):
        channels = slice(3 * group, 3 * group + 3)
        expected, left = rvq.encode(latents[..., channels], codebooks[group])
        np.testing.assert_array_equal(codes[:, :, group], expected)
        np.testing.assert_allclose(remainder[..., channels], left, atol=1e-6)
    decoded = grouped.decode(codes, codebooks)
    np.testing.assert_allclose(decoded + remainder, latents, atol=1e-5)
    prefix = grouped.decode(codes[..., :1], codebooks)
    np.testing.assert_array_equal(prefix, grouped.decode(codes[..., :1], codebooks[:, :1]))


def test_channels_that_do_not_fit_are_told():
    with pytest.raises(errors.UserError, match="7 channels and 2 groups of 3 make 6"):
        grouped.encode(jnp.zeros((4, 7)), jnp.zeros((2, 3, 8, 3)))
