"""MobileNetV2 1.0 at 224 pixels: a small classifier of photographs and its 1,280 features."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.features import interface, inverted_residual, layers
from resgen_jax.features.inverted_residual import Stage

PyTree = Any

IMAGE_SIZE = 224
NUM_FEATURES = 1280
NUM_CLASSES = 1001  # ImageNet's, after a class for anything else
STEM_DIM = 32
# Filters of 3 x 3, expansion, output channels, blocks, stride of the first (the paper's table 2).
STAGES = (
    Stage(3, 1, 16, 1, 1),
    Stage(3, 6, 24, 2, 2),
    Stage(3, 6, 32, 3, 2),
    Stage(3, 6, 64, 4, 2),
    Stage(3, 6, 96, 3, 1),
    Stage(3, 6, 160, 3, 2),
    Stage(3, 6, 320, 1, 1),
)
BLOCKS = inverted_residual.blocks(STAGES, STEM_DIM)


def make() -> interface.FeatureNetwork:
    """MobileNetV2 (Sandler et al., arXiv 1801.04381), the features after the mean over places.

    Its Fréchet distance compares with nothing but itself, so it is never called FID.
    """
    return interface.FeatureNetwork(
        name="mobilenet",
        distance_name="FD-mobilenet",
        num_features=NUM_FEATURES,
        init=lambda key: layers.init(shapes(), key),
        apply=apply,
    )


def shapes() -> PyTree:
    """Shapes of all parameters: a tree with tuples as leaves."""
    return {
        "stem": layers.kernel_shapes(3, 3, 3, STEM_DIM),
        "blocks": {
            str(index): inverted_residual.shapes(block) for index, block in enumerate(BLOCKS)
        },
        "head": layers.kernel_shapes(1, 1, BLOCKS[-1].out_dim, NUM_FEATURES),
        "logits": layers.kernel_shapes(1, 1, NUM_FEATURES, NUM_CLASSES),
    }


def apply(params: PyTree, images: Float[Array, "b h w 3"]) -> interface.Outputs:
    """Features and logits of images in [0, 255] of any size.

    They are resized to 224 x 224 by bilinear interpolation, with antialiasing where that shrinks.
    """
    shape = (images.shape[0], IMAGE_SIZE, IMAGE_SIZE, 3)
    with jax.default_matmul_precision("highest"):
        values = jax.image.resize(images, shape, "bilinear") / 127.5 - 1
        values = layers.convolve(params["stem"], values, stride=2, padding="SAME")
        values = jax.nn.relu6(values)
        for index, block in enumerate(BLOCKS):
            values = inverted_residual.apply(params["blocks"][str(index)], values, block.stride)
        features = jnp.mean(jax.nn.relu6(layers.convolve(params["head"], values)), axis=(1, 2))
        logits = layers.convolve(params["logits"], features[:, None, None, :])[:, 0, 0]
    return interface.Outputs(features=features, spatial=None, logits=logits)
