"""The judge's network: its convolution, its cost on large images, its specs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.evaluation import classifier
from resgen_jax.nn import functional


@pytest.mark.parametrize(("side", "stride"), [(3, 1), (3, 2), (1, 1)])
def test_convolution_is_the_compilers_convolution(key, side, stride):
    network = functional.from_module(lambda rngs: classifier.Convolution(3, 5, stride, rngs, side))
    params = network.init(key)
    values = jax.random.normal(key, (2, 7, 8, 3))
    kernel = params["dense"]["kernel"].reshape(side, side, 3, 5)
    expected = jax.lax.conv_general_dilated(
        values,
        kernel,
        (stride, stride),
        [(side // 2, side // 2)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(
        network.apply(params, values), jnp.maximum(expected, 0), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("shape", [(8, 8, 1), (30, 30, 3), (64, 64, 3), (9, 14, 1)])
def test_any_small_image_gives_features_and_logits(key, shape):
    network = functional.from_module(
        lambda rngs: classifier.Classifier(classifier.Spec(width=8), shape, 7, rngs)
    )
    params = jax.eval_shape(network.init, key)
    images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    features, logits = jax.eval_shape(network.apply, params, images)
    assert features.shape == (2, 32)
    assert logits.shape == (2, 7)


def test_features_do_not_saturate(key):
    network = functional.from_module(
        lambda rngs: classifier.Classifier(classifier.Spec(width=4), (8, 8, 1), 3, rngs)
    )
    params = network.init(key)
    images = jax.random.normal(key, (16, 8, 8, 1))
    features, _ = network.apply(params, images)
    louder, _ = network.apply(params, 100 * images)
    # All biases start at zero, so that the features are homogeneous in the image.
    np.testing.assert_allclose(louder, 100 * features, rtol=1e-3, atol=1e-2)
    assert (np.asarray(features) < 0).any()


def test_one_pixel_moves_into_its_own_channel(key):
    image = np.arange(36, dtype=np.float32).reshape(1, 6, 6, 1)
    cut = classifier.patches(jnp.asarray(image), 4)
    assert cut.shape == (1, 2, 2, 16)
    np.testing.assert_array_equal(cut[0, 0, 0].reshape(4, 4), image[0, :4, :4, 0])
    np.testing.assert_array_equal(cut[0, 1, 1].reshape(4, 4)[:2, :2], image[0, 4:, 4:, 0])
    assert float(jnp.abs(cut[0, 1, 1].reshape(4, 4)[2:]).sum()) == 0


@pytest.mark.parametrize(
    ("field", "value"), [("width", 0), ("num_steps", 0), ("max_shift_ratio", 1.0)]
)
def test_senseless_spec_is_refused(field, value):
    with pytest.raises(errors.UserError, match=rf"judge\.{field} is {value}"):
        classifier.Spec(**{field: value})
