"""The Inception network of 2015-12-05 whose features make the FID, as TensorFlow runs it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from resgen_jax.features import inception_blocks as blocks
from resgen_jax.features import interface, layers

PyTree = Any

IMAGE_SIZE = 299
NUM_FEATURES = 2048
NUM_CLASSES = 1008  # outputs of the published graph; ImageNet's 1,000 classes are among them
NUM_SPATIAL_CHANNELS = 7


def make() -> interface.FeatureNetwork:
    """Inception v3 as trained by Google for the graph of 2015-12-05: `pool_3`, 2,048 features.

    Szegedy et al., arXiv 1512.00567; the Fréchet distance of Heusel et al., arXiv 1706.08500.
    """
    return interface.FeatureNetwork(
        name="inception",
        distance_name="FID",
        num_features=NUM_FEATURES,
        init=init,
        apply=apply,
    )


def shapes() -> PyTree:
    """Shapes of all parameters: a tree with tuples as leaves."""
    return {
        **blocks.shapes(blocks.STEM),
        **{block: blocks.shapes(widths) for block, widths in blocks.BLOCKS.items()},
        "fc": {"kernel": (NUM_FEATURES, NUM_CLASSES), "bias": (NUM_CLASSES,)},
    }


def init(key: jax.Array) -> PyTree:
    """Random parameters, with normalisations that do nothing."""
    params = layers.init(shapes(), key)

    def with_ones(path: tuple, leaf: jax.Array) -> jax.Array:
        is_factor = path[-1].key in ("scale", "variance")
        return jnp.ones_like(leaf) if is_factor else leaf

    return jax.tree_util.tree_map_with_path(with_ones, params)


def apply(params: PyTree, images: Float[Array, "b h w 3"]) -> interface.Outputs:
    """`pool_3`, the spatial features of sFID and logits without bias, of images in [0, 255].

    The spatial features are those of ADM's evaluator, `mixed_6/conv:0[..., :7]`. TensorFlow counts
    the blocks mixed, mixed_1, ... from Mixed_5b on, so mixed_6 is Mixed_6d, and its first
    convolution, after normalisation and ReLU, is branch1x1: 17 x 17 x 7 = 2,023 numbers.
    The logits leave out the bias, as the Inception score of ADM and torch-fidelity does.
    """
    with jax.default_matmul_precision("highest"):
        values = (resize(images, IMAGE_SIZE) - 128) / 128
        values = blocks.run_stem(params, values)
        spatial: Any = None  # Mixed_6d is one of the blocks
        for name in blocks.BLOCKS:
            if name == "Mixed_6d":
                spatial = blocks.conv(params[name]["branch1x1"], values)[..., :NUM_SPATIAL_CHANNELS]
            values = blocks.RUN[name](params[name], values)
        features = jnp.mean(values, axis=(1, 2))
        logits = features @ params["fc"]["kernel"]
    return interface.Outputs(features, spatial.reshape(spatial.shape[0], -1), logits)


def resize(images: Float[Array, "b h w c"], size: int) -> Float[Array, "b size size c"]:
    """Bilinear as TensorFlow 1 does it: output i lies at i * in / out, corners not aligned.

    No half-pixel centres and no antialiasing: the graph's own, which the FID of ADM is made with.
    """
    return _resize(_resize(images, 2, size), 1, size)


def _resize(images: jax.Array, axis: int, size: int) -> jax.Array:
    length = images.shape[axis]
    place = np.arange(size, dtype=np.float32) * (np.float32(length) / np.float32(size))
    before = np.floor(place).astype(np.int32)
    after = np.minimum(before + 1, length - 1)
    share = jnp.asarray((place - before).reshape([-1 if i == axis else 1 for i in range(4)]))
    low, high = (jnp.take(images, index, axis=axis, mode="clip") for index in (before, after))
    return low + (high - low) * share
