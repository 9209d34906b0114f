"""EfficientNet-Lite0 at 224 pixels: a classifier of photographs and its 1,280 features."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.features import interface, inverted_residual, layers
from resgen_jax.features.inverted_residual import Stage

PyTree = Any

IMAGE_SIZE = 224
NUM_FEATURES = 1280
NUM_CLASSES = 1000
STEM_DIM = 32
SHIFT, SCALE = 127.0, 128.0  # of the pixels, as its authors had them
# EfficientNet-B0 (table 1 of the paper) without squeeze and excitation.
STAGES = (
    Stage(side=3, expansion=1, out_dim=16, num_blocks=1, stride=1),
    Stage(side=3, expansion=6, out_dim=24, num_blocks=2, stride=2),
    Stage(side=5, expansion=6, out_dim=40, num_blocks=2, stride=2),
    Stage(side=3, expansion=6, out_dim=80, num_blocks=3, stride=2),
    Stage(side=5, expansion=6, out_dim=112, num_blocks=3, stride=1),
    Stage(side=5, expansion=6, out_dim=192, num_blocks=4, stride=2),
    Stage(side=3, expansion=6, out_dim=320, num_blocks=1, stride=1),
)
BLOCKS = inverted_residual.blocks(STAGES, STEM_DIM)


def make() -> interface.FeatureNetwork:
    """EfficientNet-Lite0, the features after the mean over places.

    Tan and Le, arXiv 1905.11946, in the form for small devices: ReLU6 for Swish, no squeeze and
    excitation. Its Fréchet distance compares with nothing but itself.
    """
    return interface.FeatureNetwork(
        name="efficientnet",
        distance_name="FD-efficientnet",
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
        "logits": {"kernel": (NUM_FEATURES, NUM_CLASSES), "bias": (NUM_CLASSES,)},
    }


def apply(params: PyTree, images: Float[Array, "b h w 3"]) -> interface.Outputs:
    """Features and logits of images in [0, 255] of any size.

    They are resized to 224 x 224 by bicubic interpolation, with antialiasing where that shrinks.
    """
    shape = (images.shape[0], IMAGE_SIZE, IMAGE_SIZE, 3)
    with jax.default_matmul_precision("highest"):
        resized = jnp.clip(jax.image.resize(images, shape, "bicubic"), 0, 255)
        values = (resized - SHIFT) / SCALE
        values = layers.convolve(params["stem"], values, stride=2, padding="SAME")
        values = jax.nn.relu6(values)
        for index, block in enumerate(BLOCKS):
            values = inverted_residual.apply(params["blocks"][str(index)], values, block.stride)
        features = jnp.mean(jax.nn.relu6(layers.convolve(params["head"], values)), axis=(1, 2))
        logits = features @ params["logits"]["kernel"] + params["logits"]["bias"][None, :]
    return interface.Outputs(features=features, spatial=None, logits=logits)
