"""RQ-VAE: a convolutional autoencoder of the VQGAN family with a residual quantizer between."""

import dataclasses
import functools
import math

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from resgen_jax.core import errors
from resgen_jax.nn import conv2d, flops, functional


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of the autoencoder; every entry of `multipliers` but the last halves the sides."""

    image_size: int
    channels: int = 3
    patch_size: int = 1  # pixels folded into channels before the first convolution
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 2)
    num_res_blocks: int = 1
    attention_sizes: tuple[int, ...] = ()  # sides of the feature maps that get attention
    code_dim: int = 16

    def __post_init__(self):
        for name in ("image_size", "channels", "patch_size", "width", "code_dim"):
            if getattr(self, name) < 1:
                raise errors.UserError(f"{name} is {getattr(self, name)}; expected at least 1")
        if not self.multipliers or min(self.multipliers) < 1 or self.num_res_blocks < 0:
            raise errors.UserError(
                f"multipliers are {self.multipliers} and num_res_blocks {self.num_res_blocks}; "
                "expected one multiplier of at least 1 for each size of the maps, and 0 or more"
            )
        if self.image_size % self.stride:
            below = self.image_size // self.stride * self.stride
            sizes = f"{below} or {below + self.stride}" if below else f"{self.stride}"
            raise errors.UserError(
                f"image_size {self.image_size} is not a multiple of the stride {self.stride} "
                f"(patch_size {self.patch_size} x 2^{len(self.multipliers) - 1}); use {sizes}"
            )
        sides = [self.grid[0] * 2**stage for stage in range(len(self.multipliers))]
        if missing := set(self.attention_sizes) - set(sides):
            raise errors.UserError(
                f"attention_sizes holds {min(missing)}; the feature maps have sides {sides}"
            )

    @property
    def stride(self) -> int:
        """Pixels per side of one grid position."""
        return self.patch_size * 2 ** (len(self.multipliers) - 1)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the latent grid."""
        side = self.image_size // self.stride
        return side, side


class Encoder(nnx.Module):
    """Images to latents on the grid."""

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        self.spec = spec
        widths = [spec.width * multiplier for multiplier in spec.multipliers]
        side = spec.image_size // spec.patch_size
        self.conv_in = conv2d.conv(spec.channels * spec.patch_size**2, widths[0], 3, rngs)
        layers, channels = [], widths[0]
        for stage, width in enumerate(widths):
            for _ in range(spec.num_res_blocks):
                layers.append(conv2d.ResidualBlock(channels, width, rngs))
                channels = width
                if side in spec.attention_sizes:
                    layers.append(conv2d.AttentionBlock(channels, rngs))
            if stage < len(widths) - 1:
                layers.append(conv2d.Downsample(channels, rngs))
                side //= 2
        self.layers = nnx.List([*layers, conv2d.ResidualBlock(channels, channels, rngs)])
        self.norm = conv2d.group_norm(channels, rngs)
        self.conv_out = conv2d.conv(channels, spec.code_dim, 1, rngs)

    def __call__(self, images: Float[Array, "b h w c"]) -> Float[Array, "b gh gw c2"]:
        values = self.conv_in(fold(images, self.spec.patch_size))
        for layer in self.layers:
            values = layer(values)
        return self.conv_out(jax.nn.silu(self.norm(values)))


class Decoder(nnx.Module):
    """Quantized latents on the grid to images; the encoder in reverse."""

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        self.spec = spec
        widths = [spec.width * multiplier for multiplier in reversed(spec.multipliers)]
        side = spec.grid[0]
        self.conv_in = conv2d.conv(spec.code_dim, widths[0], 3, rngs)
        layers = [conv2d.ResidualBlock(widths[0], widths[0], rngs)]
        channels = widths[0]
        for stage, width in enumerate(widths):
            for _ in range(spec.num_res_blocks):
                layers.append(conv2d.ResidualBlock(channels, width, rngs))
                channels = width
                if side in spec.attention_sizes:
                    layers.append(conv2d.AttentionBlock(channels, rngs))
            if stage < len(widths) - 1:
                layers.append(conv2d.Upsample(channels, rngs))
                side *= 2
        self.layers = nnx.List(layers)
        self.norm = conv2d.group_norm(channels, rngs)
        self.conv_out = conv2d.conv(channels, spec.channels * spec.patch_size**2, 3, rngs)

    def __call__(self, quantized: Float[Array, "b gh gw c"]) -> Float[Array, "b h w c2"]:
        values = self.conv_in(quantized)
        for layer in self.layers:
            values = layer(values)
        return unfold(self.conv_out(jax.nn.silu(self.norm(values))), self.spec.patch_size)


class RqVae(nnx.Module):
    """The two networks around the quantizer; the quantizer itself is a pure function."""

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        self.encoder, self.decoder = Encoder(spec, rngs), Decoder(spec, rngs)
        self.spec = spec

    def encode(self, images: Float[Array, "b h w c"]) -> Float[Array, "b l c2"]:
        """Latents, the grid flattened row by row."""
        latents = self.encoder(images)
        return latents.reshape(latents.shape[0], math.prod(self.spec.grid), -1)

    def decode(self, quantized: Float[Array, "b l c"]) -> Float[Array, "b h w c2"]:
        """Images from quantized latents, not clipped."""
        return self.decoder(quantized.reshape(quantized.shape[0], *self.spec.grid, -1))


def make(spec: Spec) -> functional.Network:
    """`init` and `apply` of the two networks; methods `encode` and `decode`."""
    return functional.from_module(lambda rngs: RqVae(spec, rngs))


@functools.cache
def forward_flops(spec: Spec) -> float:
    """Convolution and matmul operations of encoding and decoding one image."""
    network = make(spec)

    def forward(params, images):
        return network.apply(
            params, network.apply(params, images, method="encode"), method="decode"
        )

    shape = (1, spec.image_size, spec.image_size, spec.channels)
    params = jax.eval_shape(network.init, jax.random.key(0))
    return flops.count(forward, params, jax.ShapeDtypeStruct(shape, jnp.float32))


def fold(images: Float[Array, "b h w c"], patch_size: int) -> Float[Array, "b h2 w2 c2"]:
    """Square patches of pixels into channels."""
    return einops.rearrange(images, "b (h i) (w j) c -> b h w (i j c)", i=patch_size, j=patch_size)


def unfold(values: Float[Array, "b h w c"], patch_size: int) -> Float[Array, "b h2 w2 c2"]:
    """Inverse of `fold`."""
    return einops.rearrange(values, "b h w (i j c) -> b (h i) (w j) c", i=patch_size, j=patch_size)
