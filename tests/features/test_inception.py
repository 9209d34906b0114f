"""Laws of the FID's Inception: TensorFlow 1's resize by loops, and the published sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import trees
from resgen_jax.features import inception


def resized_by_loops(images, size):
    """tf.image.resize_bilinear(images, size, align_corners=False) of TensorFlow 1.15."""
    _, height, width, _ = images.shape
    output = np.zeros((len(images), size, size, images.shape[-1]))
    for row in range(size):
        for column in range(size):
            y, x = row * height / size, column * width / size
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            down, along = y - top, x - left
            upper = images[:, top, left] * (1 - along) + images[:, top, right] * along
            lower = images[:, bottom, left] * (1 - along) + images[:, bottom, right] * along
            output[:, row, column] = upper * (1 - down) + lower * down
    return output


@pytest.mark.parametrize("shape", [(5, 3), (7, 7), (20, 11), (1, 2)])
def test_resize_is_that_of_tensorflow_1(shape):
    images = np.random.default_rng(0).uniform(0, 255, (2, *shape, 3)).astype(np.float32)
    found = inception.resize(jnp.asarray(images), 7)
    np.testing.assert_allclose(found, resized_by_loops(images, 7), rtol=1e-5, atol=1e-3)


def test_resize_begins_in_the_corner_and_repeats_the_last_row():
    column = jnp.array([0.0, 10.0])[None, :, None, None]
    found = inception.resize(column, 4)[0, :, 0, 0]
    np.testing.assert_array_equal(found, [0, 5, 10, 10])  # half-pixel centres: 0, 2.5, 7.5, 10


def test_the_network_has_the_published_sizes(key):
    network = inception.make()
    params = jax.eval_shape(network.init, key)
    # 94 convolutions of five arrays each, and the classifier.
    assert len(jax.tree.leaves(params)) == 94 * 5 + 2
    # Inception v3 without auxiliary classifier has 21,785,568 numbers before its classifier; the
    # running statistics, twice 17,216 channels, come on top.
    backbone = {name: node for name, node in params.items() if name != "fc"}
    assert trees.num_parameters(backbone) == 21_785_568 + 2 * 17_216
    assert params["fc"]["kernel"].shape == (2048, 1008)
    assert network.distance_name == "FID"


def test_outputs_have_the_sizes_of_the_published_graph(key):
    network = inception.make()
    images = jax.ShapeDtypeStruct((2, 32, 48, 3), jnp.float32)
    outputs = jax.eval_shape(network.apply, jax.eval_shape(network.init, key), images)
    assert outputs.features.shape == (2, 2048)
    assert outputs.spatial.shape == (2, 17 * 17 * 7)
    assert outputs.logits.shape == (2, 1008)


def test_init_makes_normalisations_that_do_nothing(key):
    block = inception.init(key)["Mixed_7c"]["branch_pool"]
    np.testing.assert_array_equal(block["scale"], 1)
    np.testing.assert_array_equal(block["variance"], 1)
    np.testing.assert_array_equal(block["mean"], 0)
    np.testing.assert_array_equal(block["bias"], 0)
