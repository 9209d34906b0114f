"""Discriminators of images: PatchGAN's and StyleGAN's, without state beside their parameters."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from resgen_jax.core import build, errors
from resgen_jax.nn import conv2d, functional, linear

SLOPE = 0.2  # of the leaky rectifiers
LARGEST_WIDTH = 512
MOST_LAYERS = 16
SMALLEST_SIDE = 4  # of the maps where StyleGAN's turns into a dense layer


@dataclasses.dataclass(frozen=True)
class Spec:
    """Which discriminator, of images `image_size` x `image_size` with `channels` colours."""

    image_size: int
    channels: int = 3
    kind: str = "patch_gan"
    width: int = 64
    num_layers: int = 2  # strided layers of patch_gan; style_gan goes down to 4x4
    normalization: str = "batch"  # of patch_gan; style_gan has none

    def __post_init__(self):
        for name, known in (("kind", KINDS), ("normalization", NORMALIZATIONS)):
            value = getattr(self, name)
            if value not in known:
                hint = build.nearest(value, known)
                raise errors.UserError(f"adversarial.{name} is {value!r}; {hint}")
        build.check_sizes(self, ("width",))
        build.check_sizes(self, ("num_layers",), most=MOST_LAYERS)
        num_halvings = math.log2(max(self.image_size, 1) / SMALLEST_SIDE)
        if self.kind == "style_gan" and (num_halvings < 0 or num_halvings % 1):
            raise errors.UserError(
                f"style_gan halves the maps down to {SMALLEST_SIDE}x{SMALLEST_SIDE}, which images "
                f"of {self.image_size} do not reach; take adversarial.kind=patch_gan"
            )
        smallest = 2 ** (self.num_layers + 1) + 2 ** (self.num_layers)
        if self.kind == "patch_gan" and self.image_size < smallest:
            raise errors.UserError(
                f"patch_gan of {self.num_layers} layers needs images of {smallest} pixels or more; "
                f"these have {self.image_size}: lower adversarial.num_layers"
            )


class BatchNorm(nnx.Module):
    """Normalisation by the statistics of the batch at hand: those of the global batch on a mesh.

    A discriminator is only ever used while it trains, and then sees the whole batch, so that moving
    averages have no part in it.
    """

    def __init__(self, channels: int, rngs: nnx.Rngs):
        self.scale = linear.table(
            (channels,), (None,), lambda *given: 1 + linear.normal(0.02)(*given), rngs
        )
        self.bias = linear.table((channels,), (None,), linear.zeros, rngs)

    def __call__(self, values: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        values = values.astype(jnp.float32)
        mean = jnp.mean(values, axis=(0, 1, 2), keepdims=True)
        variance = jnp.mean((values - mean) ** 2, axis=(0, 1, 2), keepdims=True)
        normed = (values - mean) * jax.lax.rsqrt(variance + 1e-5)
        return normed * self.scale[...][None, None, None, :] + self.bias[...][None, None, None, :]


NORMALIZATIONS: Mapping[str, Callable] = {
    "batch": BatchNorm,
    "group": conv2d.group_norm,
    "none": lambda channels, rngs: None,
}


class PatchGan(nnx.Module):
    """A score for each of many overlapping patches (Isola et al. 2017, as in VQGAN)."""

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        widths = [min(spec.width * 2**layer, spec.width * 8) for layer in range(spec.num_layers)]
        strides = [2] * spec.num_layers + [1]
        widths = [spec.channels, *widths, min(spec.width * 2**spec.num_layers, spec.width * 8)]
        normalize = NORMALIZATIONS[spec.normalization]
        is_normalized = normalize(1, nnx.Rngs(0)) is not None
        sizes = zip(widths[:-1], widths[1:], strides, strict=True)
        self.convs = nnx.List(
            # The norm that follows all but the first would take a bias away again.
            _conv4(before, after, stride, rngs, use_bias=not (index and is_normalized))
            for index, (before, after, stride) in enumerate(sizes)
        )
        self.norms = nnx.List(normalize(n, rngs) for n in widths[2:] if is_normalized)
        self.conv_out = _conv4(widths[-1], 1, 1, rngs)

    def __call__(self, images: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2"]:
        values = images
        for index, conv in enumerate(self.convs):
            values = conv(values)
            if index and self.norms:
                values = self.norms[index - 1](values)
            values = jax.nn.leaky_relu(values, SLOPE)
        return self.conv_out(values)[..., 0]


class StyleGan(nnx.Module):
    """One score an image: residual blocks that halve the maps (Karras et al. 2020)."""

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        num_blocks = int(math.log2(spec.image_size // SMALLEST_SIDE))
        widths = [min(spec.width * 2**index, LARGEST_WIDTH) for index in range(num_blocks + 1)]
        self.conv_in = conv2d.conv(spec.channels, widths[0], 3, rngs)
        self.blocks = nnx.List(
            DownBlock(before, after, rngs) for before, after in itertools.pairwise(widths)
        )
        self.conv_out = conv2d.conv(widths[-1] + 1, widths[-1], 3, rngs)
        self.hidden = linear.dense(
            widths[-1] * SMALLEST_SIDE**2, widths[-1], ("embed", "mlp"), jnp.float32, rngs
        )
        self.out = linear.dense(widths[-1], 1, ("mlp", None), jnp.float32, rngs)

    def __call__(self, images: Float[Array, "b h w c"]) -> Float[Array, "b"]:
        values = jax.nn.leaky_relu(self.conv_in(images), SLOPE)
        for block in self.blocks:
            values = block(values)
        values = jax.nn.leaky_relu(self.conv_out(with_deviation(values)), SLOPE)
        hidden = jax.nn.leaky_relu(self.hidden(values.reshape(values.shape[0], -1)), SLOPE)
        return self.out(hidden)[:, 0]


class DownBlock(nnx.Module):
    """Two convolutions and a skip, both blurred before every second place is taken."""

    def __init__(self, in_channels: int, out_channels: int, rngs: nnx.Rngs):
        self.conv_in = conv2d.conv(in_channels, in_channels, 3, rngs)
        self.conv_out = conv2d.conv(in_channels, out_channels, 3, rngs)
        self.skip = conv2d.conv(in_channels, out_channels, 1, rngs)

    def __call__(self, values: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        hidden = jax.nn.leaky_relu(self.conv_in(values), SLOPE)
        hidden = jax.nn.leaky_relu(self.conv_out(blur_down(hidden)), SLOPE)
        return (hidden + self.skip(blur_down(values))) / math.sqrt(2)


KINDS = {"patch_gan": PatchGan, "style_gan": StyleGan}


@functools.cache  # tracing a network is slow; it holds no state
def make(spec: Spec) -> functional.Network:
    """`init` and `apply` of the discriminator; images in [-1, 1] to scores."""
    return functional.from_module(lambda rngs: KINDS[spec.kind](spec, rngs))


def blur_down(values: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Binomial blur (1, 3, 3, 1) along both sides, then every second place; zeros outside."""
    kernel = jnp.asarray([1.0, 3.0, 3.0, 1.0], values.dtype) / 8
    for axis in (1, 2):
        padding = [(1, 1) if axis == other else (0, 0) for other in range(4)]
        padded = jnp.pad(values, padding)
        size = values.shape[axis]
        taps = [
            jax.lax.slice_in_dim(padded, i, i + size - 1, stride=2, axis=axis) for i in range(4)
        ]
        values = sum(weight * tap for weight, tap in zip(kernel, taps, strict=True))
    return values


def with_deviation(values: Float[Array, "b h w c"]) -> Float[Array, "b h w c2"]:
    """One more channel: how much the images of the batch differ, the mean over all features.

    Over the global batch, where StyleGAN takes groups of four: no grouping of rows that a mesh or
    a batch split would change.
    """
    deviation = jnp.mean(jnp.sqrt(jnp.var(values, axis=0) + 1e-8))
    extra = jnp.broadcast_to(deviation, (*values.shape[:-1], 1))
    return jnp.concatenate([values, extra.astype(values.dtype)], axis=-1)


def _conv4(
    in_channels: int, out_channels: int, strides: int, rngs: nnx.Rngs, *, use_bias: bool = True
) -> conv2d.Conv:
    return conv2d.conv(
        in_channels,
        out_channels,
        4,
        rngs,
        strides=strides,
        padding=((1, 1), (1, 1)),
        init=linear.normal(0.02),
        use_bias=use_bias,
    )
