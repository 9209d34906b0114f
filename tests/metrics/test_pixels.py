"""PSNR by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.metrics import pixels


def test_psnr_of_a_known_error_for_each_image():
    references = jnp.zeros((3, 4, 4, 3))
    images = references + jnp.array([0.1, 0.2, 0.0]).reshape(3, 1, 1, 1)
    result = np.asarray(pixels.psnr(images, references, value_range=1.0))
    np.testing.assert_allclose(result[:2], [20.0, 20 * np.log10(5)], rtol=1e-5)
    assert result[2] == np.inf


@pytest.mark.parametrize("scale", [0.5, 255.0])
def test_psnr_does_not_depend_on_the_unit(scale):
    random = np.random.default_rng(0)
    images, references = (jnp.asarray(random.random((2, 5, 6, 1)), jnp.float32) for _ in range(2))
    np.testing.assert_allclose(
        pixels.psnr(images, references, value_range=1.0),
        pixels.psnr(scale * images, scale * references, value_range=scale),
        rtol=1e-5,
    )
