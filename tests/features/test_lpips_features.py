"""The features of LPIPS: those of the very maps that it compares, and in what size of image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.features import lpips, lpips_features


@pytest.fixture(scope="module")
def params():
    return lpips_features.make().init(jax.random.key(0))


def test_features_are_means_of_the_map_that_lpips_compares(params, key):
    """A distance with the weight of one channel of that map alone sees that map alone."""
    network = lpips_features.make()
    images = jax.random.uniform(key, (2, 32, 32, 3)) * 255
    found = network.apply(params, images)
    maps = lpips.maps("squeeze", params, images / 127.5 - 1)[lpips_features.STAGE]
    assert maps.shape == (2, 3, 3, network.num_features)
    expected = np.asarray(maps, np.float64).reshape(2, 9, -1).mean(axis=1)
    np.testing.assert_allclose(found.features, expected, rtol=1e-5)
    assert found.logits is None
    lengths = np.linalg.norm(np.asarray(maps, np.float64), axis=-1, keepdims=True)
    first, second = np.asarray(maps, np.float64) / lengths
    heads = jax.tree.map(jnp.zeros_like, params["heads"])
    heads[str(lpips_features.STAGE)]["weight"] += 1
    distance = lpips.make("squeeze").distance(
        {**params, "heads": heads}, *(images[index : index + 1] / 127.5 - 1 for index in (0, 1))
    )
    np.testing.assert_allclose(distance[0], ((first - second) ** 2).sum(-1).mean(), rtol=1e-4)


def test_images_too_small_are_refused(params):
    with pytest.raises(errors.UserError, match="16 x 16 pixels"):
        lpips_features.apply(params, jnp.zeros((1, 16, 16, 3)))
