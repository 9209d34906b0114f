"""The network of the judge of photographs: a small residual network, normalised by batches."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.core import errors
from resgen_jax.features import layers

PyTree = Any
# Values "b h w c" of a layer by its name -> zero mean and unit variance of every channel.
Normalise = Callable[[str, jax.Array], jax.Array]
EPSILON = 1e-3  # added to variances
LARGEST_SIDE = 16  # of the maps behind the first convolution


@dataclasses.dataclass(frozen=True)
class Spec:
    """Size of the network; the defaults fit photographs of 32 x 32."""

    widths: tuple[int, ...] = (32, 96, 192)  # channels of each stage; between them sides halve
    num_blocks: tuple[int, ...] = (1, 2, 1)  # residual convolutions of each stage

    def __post_init__(self):
        if not self.widths or len(self.widths) != len(self.num_blocks):
            raise errors.UserError(
                f"judge.widths {self.widths} and judge.num_blocks {self.num_blocks}; expected one "
                "number a stage in both, of at least one stage"
            )
        if min(self.widths) < 1 or min(self.num_blocks) < 1:
            raise errors.UserError(
                f"judge.widths {self.widths} and judge.num_blocks {self.num_blocks}; expected 1 or "
                "more channels and 1 or more convolutions in every stage"
            )


def shapes(spec: Spec, image_shape: tuple[int, int, int], num_classes: int) -> PyTree:
    """Shapes of all parameters: a tree with tuples as leaves."""
    side, _ = _stem(image_shape)
    stages, in_dim = {}, spec.widths[0]
    for index, (width, count) in enumerate(zip(spec.widths, spec.num_blocks, strict=True)):
        parts = {str(block): _convolution_shapes(3, width, width) for block in range(count)}
        if index:
            parts["widen"] = _convolution_shapes(3, in_dim, width)
        stages[str(index)], in_dim = parts, width
    return {
        "stem": _convolution_shapes(side, image_shape[-1], spec.widths[0]),
        "stages": stages,
        "logits": {"kernel": (in_dim, num_classes), "bias": (num_classes,)},
    }


def init(shapes: PyTree, key: jax.Array) -> PyTree:
    """Random parameters that keep the variance; every channel is scaled by 1, every class alike."""
    params = layers.init(shapes, key)
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.ones_like(leaf) if _name(path) == "scale" else leaf, params
    )
    params["logits"] = jax.tree.map(jnp.zeros_like, params["logits"])
    return params


def apply(
    params: PyTree, images: Float[Array, "b h w c"], normalise: Normalise
) -> tuple[Float[Array, "b f"], Float[Array, "b classes"]]:
    """Features (the mean over places of the last map) and logits of images in [-1, 1].

    The first convolution strides so that no map is larger than 16 x 16, whatever the images.
    """
    _, stride = _stem(images.shape[1:])
    convolve = functools.partial(_convolve, normalise)
    values = convolve("stem", params["stem"], images, stride)
    for index in range(len(params["stages"])):
        stage, parts = f"stages.{index}", params["stages"][str(index)]
        if index:
            values = convolve(f"{stage}.widen", parts["widen"], _halved(values))
        for block in range(len(parts) - bool(index)):
            values = values + convolve(f"{stage}.{block}", parts[str(block)], values)
    features = values.mean(axis=(1, 2))
    logits = features @ params["logits"]["kernel"] + params["logits"]["bias"][None, :]
    return features, logits


def by_batch(name: str, values: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Normalised by the batch itself, as in training."""
    del name
    return _normalised(values, *_moments(values))


def by_statistics(statistics: PyTree) -> Normalise:
    """Normalised by what `measure` found, so that an image is judged alike in any batch."""

    def normalise(name, values):
        return _normalised(values, statistics[name]["mean"], statistics[name]["variance"])

    return normalise


def measure(params: PyTree, images: Float[Array, "b h w c"]) -> PyTree:
    """Mean and variance of every channel of every layer on these images, by the layer's name."""
    found = {}

    def normalise(name, values):
        mean, variance = _moments(values)
        found[name] = {"mean": mean, "variance": variance}
        return _normalised(values, mean, variance)

    apply(params, images, normalise)
    return found


def _stem(image_shape: tuple[int, ...]) -> tuple[int, int]:
    """Side and stride of the first convolution."""
    stride = math.ceil(max(image_shape[:2]) / LARGEST_SIDE)
    return max(3, 2 * stride), stride


def _convolution_shapes(side: int, in_dim: int, out_dim: int) -> PyTree:
    return {"kernel": (side, side, in_dim, out_dim), "scale": (out_dim,), "bias": (out_dim,)}


def _convolve(
    normalise: Normalise, name: str, params: PyTree, values: jax.Array, stride: int = 1
) -> jax.Array:
    """A convolution, its normalisation and its activation."""
    values = layers.convolve_plain(params["kernel"], values, stride=stride, padding="SAME")
    scale, bias = (params[part][None, None, None, :] for part in ("scale", "bias"))
    return jax.nn.relu(normalise(name, values) * scale + bias)


def _halved(values: jax.Array) -> jax.Array:
    """The largest of every 2 x 2 places; a map of one place stays."""
    return layers.max_pool(values, 2, 2) if min(values.shape[1:3]) > 1 else values


def _moments(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    return values.mean(axis=(0, 1, 2)), values.var(axis=(0, 1, 2))


def _normalised(values: jax.Array, mean: jax.Array, variance: jax.Array) -> jax.Array:
    mean, variance = (part[None, None, None, :] for part in (mean, variance))
    return (values - mean) * jax.lax.rsqrt(variance + EPSILON)


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path[-1:], simple=True)
