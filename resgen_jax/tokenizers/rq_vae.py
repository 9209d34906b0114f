"""RQ-VAE: a convolutional autoencoder of the VQGAN family with a residual quantizer between."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from resgen_jax.core import build, errors
from resgen_jax.nn import conv2d, flops, functional

BRIDGE_SIZES = (0, 1, 3)
MOST_BLOCKS, MOST_STAGES = 1000, 16
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of the autoencoder; every entry of `multipliers` but the last halves the sides.

    A stage is `num_res_blocks` blocks at one size of the maps; the smallest maps then pass the
    middle. The bridge is the convolution on either side of the quantizer (VQGAN's quant_conv and
    post_quant_conv) between `latent_channels` of the networks and `code_dim` of the codebook.
    """

    image_size: int  # side in pixels
    channels: int = 3  # of the images: 1 = gray, 3 = colour
    # Side in pixels of what is folded into channels before the first convolution.
    patch_size: int = 1
    width: int = 64  # channels of the largest feature maps
    # Of the width, one for each size of the maps; all but the last halve the sides.
    multipliers: tuple[int, ...] = (1, 2, 2)
    num_res_blocks: int = 1  # of the encoder, at each size of the maps
    num_decoder_res_blocks: int = 2  # of the decoder, at each size of the maps
    attention_sizes: tuple[int, ...] = ()  # sides of the feature maps that get attention
    attention: str = "separate"  # query, key and value by projections of their own, or by one
    num_middle_blocks: int = 2  # of either network, at the smallest maps
    has_middle_attention: bool = True  # whether there is attention at the smallest maps
    latent_channels: int = 0  # between the networks and the bridge; 0 = code_dim
    bridge_size: int = 1  # side of the kernels on either side of the quantizer; 0 = no bridge
    code_dim: int = 16  # channels of the vectors that are quantized
    dtype: str = "float32"  # of convolutions and matmuls; normalisation is in float32

    def __post_init__(self):
        build.check_sizes(self, ("image_size", "channels", "patch_size", "width", "code_dim"))
        build.check_sizes(self, ("latent_channels",), least=0)
        blocks = ("num_res_blocks", "num_decoder_res_blocks", "num_middle_blocks")
        build.check_sizes(self, blocks, least=0, most=MOST_BLOCKS)
        if not 1 <= len(self.multipliers) <= MOST_STAGES or min(self.multipliers) < 1:
            raise errors.UserError(
                f"multipliers are {self.multipliers}; expected one of at least 1 for each of 1 to "
                f"{MOST_STAGES} sizes of the maps"
            )
        if self.width * max(self.multipliers) > build.LARGEST_SIZE:
            raise errors.UserError(
                f"width {self.width} times {max(self.multipliers)} of multipliers is more than "
                f"{build.LARGEST_SIZE}; take smaller ones"
            )
        build.check_known(self, {"attention": conv2d.ATTENTIONS, "dtype": DTYPES}, "model.")
        self._check_bridge()
        self._check_sizes()

    def _check_bridge(self):
        if self.bridge_size not in BRIDGE_SIZES:
            raise errors.UserError(f"bridge_size is {self.bridge_size}; expected 0, 1 or 3")
        if not self.bridge_size and self.latent_channels not in (0, self.code_dim):
            raise errors.UserError(
                f"latent_channels is {self.latent_channels} and code_dim {self.code_dim}, but "
                "bridge_size 0 leaves nothing between them; set bridge_size=1 or both alike"
            )

    def _check_sizes(self):
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
    def num_blocks(self) -> int:
        """Residual blocks of both networks; each has parameters of its own."""
        of_stage = self.num_res_blocks + self.num_decoder_res_blocks
        return len(self.multipliers) * of_stage + 2 * self.num_middle_blocks

    @property
    def stride(self) -> int:
        """Pixels per side of one grid position."""
        return self.patch_size * 2 ** (len(self.multipliers) - 1)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the latent grid."""
        side = self.image_size // self.stride
        return side, side

    @property
    def inner_channels(self) -> int:
        """Channels of the encoder's output and the decoder's input."""
        return self.latent_channels or self.code_dim


class Middle(nnx.Module):
    """Blocks at the smallest maps, with attention after the first of them."""

    def __init__(self, spec: Spec, channels: int, rngs: nnx.Rngs):
        self.blocks = nnx.List(
            conv2d.ResidualBlock(channels, channels, rngs, DTYPES[spec.dtype])
            for _ in range(spec.num_middle_blocks)
        )
        has_attention = spec.has_middle_attention and spec.num_middle_blocks
        self.attention = _attention(spec, channels, rngs) if has_attention else None

    def __call__(self, values: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        for index, block in enumerate(self.blocks):
            values = block(values)
            if index == 0 and self.attention is not None:
                values = self.attention(values)
        return values


class Stage(nnx.Module):
    """Blocks at one size of the maps, attention after each where asked for, then a resize."""

    def __init__(self, spec, in_channels, channels, num_blocks, side, resize, rngs):
        dtype = DTYPES[spec.dtype]
        widths = [in_channels, *[channels] * num_blocks]
        self.blocks = nnx.List(
            conv2d.ResidualBlock(before, after, rngs, dtype)
            for before, after in itertools.pairwise(widths)
        )
        num_attentions = num_blocks if side in spec.attention_sizes else 0
        self.attentions = nnx.List(_attention(spec, channels, rngs) for _ in range(num_attentions))
        self.resize = None if resize is None else resize(widths[-1], rngs, dtype)

    def __call__(self, values: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        for index, block in enumerate(self.blocks):
            values = block(values)
            if self.attentions:
                values = self.attentions[index](values)
        return values if self.resize is None else self.resize(values)


class Encoder(nnx.Module):
    """Images to latents on the grid, before the bridge."""

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        self.spec = spec
        dtype, side = DTYPES[spec.dtype], spec.image_size // spec.patch_size
        in_channels, channels = spec.channels * spec.patch_size**2, spec.width
        self.conv_in = conv2d.conv(in_channels, channels, 3, rngs, dtype=dtype)
        stages = []
        for index, multiplier in enumerate(spec.multipliers):
            is_last = index == len(spec.multipliers) - 1
            resize = None if is_last else conv2d.Downsample
            width = spec.width * multiplier if spec.num_res_blocks else channels
            stages.append(
                Stage(spec, channels, width, spec.num_res_blocks, side >> index, resize, rngs)
            )
            channels = width
        self.stages = nnx.List(stages)
        self.middle = Middle(spec, channels, rngs)
        self.norm = conv2d.group_norm(channels, rngs)
        self.conv_out = conv2d.conv(channels, spec.inner_channels, 3, rngs, dtype=dtype)

    def __call__(self, images: Float[Array, "b h w c"]) -> Float[Array, "b gh gw c2"]:
        values = self.conv_in(fold(images, self.spec.patch_size))
        for stage in self.stages:
            values = stage(values)
        return self.conv_out(jax.nn.silu(self.norm(self.middle(values))))


class Decoder(nnx.Module):
    """Latents on the grid, after the bridge, to images; the encoder in reverse."""

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        self.spec = spec
        dtype, channels = DTYPES[spec.dtype], spec.width * spec.multipliers[-1]
        self.conv_in = conv2d.conv(spec.inner_channels, channels, 3, rngs, dtype=dtype)
        self.middle = Middle(spec, channels, rngs)
        stages, num_blocks = [], spec.num_decoder_res_blocks
        for index, multiplier in enumerate(reversed(spec.multipliers)):
            is_last = index == len(spec.multipliers) - 1
            resize = None if is_last else conv2d.Upsample
            width = spec.width * multiplier if num_blocks else channels
            side = spec.grid[0] << index
            stages.append(Stage(spec, channels, width, num_blocks, side, resize, rngs))
            channels = width
        self.stages = nnx.List(stages)
        self.norm = conv2d.group_norm(channels, rngs)
        out_channels = spec.channels * spec.patch_size**2
        self.conv_out = conv2d.conv(channels, out_channels, 3, rngs, dtype=dtype)

    def features(self, values: Float[Array, "b gh gw c"]) -> Float[Array, "b h w d"]:
        """All but the last convolution."""
        values = self.middle(self.conv_in(values))
        for stage in self.stages:
            values = stage(values)
        return jax.nn.silu(self.norm(values))

    def finish(self, features: Float[Array, "b h w d"]) -> Float[Array, "b h2 w2 c2"]:
        """The last convolution; images in float32."""
        return unfold(self.conv_out(features).astype(jnp.float32), self.spec.patch_size)


class RqVae(nnx.Module):
    """The two networks around the quantizer; the quantizer itself is a pure function."""

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        self.encoder, self.decoder = Encoder(spec, rngs), Decoder(spec, rngs)
        self.spec = spec
        dtype, size = DTYPES[spec.dtype], spec.bridge_size
        inner, outer = spec.inner_channels, spec.code_dim
        self.bridge_in = conv2d.conv(inner, outer, size, rngs, dtype=dtype) if size else None
        self.bridge_out = conv2d.conv(outer, inner, size, rngs, dtype=dtype) if size else None

    def encode(self, images: Float[Array, "b h w c"]) -> Float[Array, "b l c2"]:
        """Latents in float32, the grid flattened row by row."""
        latents = self.encoder(images)
        latents = latents if self.bridge_in is None else self.bridge_in(latents)
        length = math.prod(self.spec.grid)
        return latents.reshape(latents.shape[0], length, -1).astype(jnp.float32)

    def features(self, quantized: Float[Array, "b l c"]) -> Float[Array, "b h w d"]:
        """What the last convolution of the decoder sees."""
        values = quantized.reshape(quantized.shape[0], *self.spec.grid, -1)
        return self.decoder.features(values if self.bridge_out is None else self.bridge_out(values))

    def finish(self, features: Float[Array, "b h w d"]) -> Float[Array, "b h2 w2 c2"]:
        """Images out of `features`: the last convolution."""
        return self.decoder.finish(features)

    def decode(self, quantized: Float[Array, "b l c"]) -> Float[Array, "b h w c2"]:
        """Images from quantized latents, not clipped."""
        return self.finish(self.features(quantized))


def _attention(spec: Spec, channels: int, rngs: nnx.Rngs) -> nnx.Module:
    return conv2d.ATTENTIONS[spec.attention](channels, rngs, DTYPES[spec.dtype])


@functools.cache  # tracing a network is slow; it holds no state
def make(spec: Spec) -> functional.Network:
    """`init` and `apply` of the two networks; methods `encode`, `decode`, `features`, `finish`."""
    return functional.from_module(lambda rngs: RqVae(spec, rngs))


def forward_program(spec: Spec, batch_size: int) -> tuple[Callable, tuple]:
    """Encoding and decoding a batch, and its abstract arguments."""
    network = make(spec)

    def forward(params, images):
        return network.apply(
            params, network.apply(params, images, method="encode"), method="decode"
        )

    shape = (batch_size, spec.image_size, spec.image_size, spec.channels)
    params = jax.eval_shape(network.init, jax.random.key(0))
    return forward, (params, jax.ShapeDtypeStruct(shape, jnp.float32))


@functools.cache
def forward_flops(spec: Spec) -> float:
    """Convolution and matmul operations of encoding and decoding one image."""
    forward, arguments = forward_program(spec, 1)
    return flops.count(forward, *arguments)


@functools.cache
def encoder_flops(spec: Spec) -> float:
    """Convolution and matmul operations of encoding one image."""
    network = make(spec)
    shape = (1, spec.image_size, spec.image_size, spec.channels)
    params = jax.eval_shape(network.init, jax.random.key(0))
    return flops.count(
        lambda params, images: network.apply(params, images, method="encode"),
        params,
        jax.ShapeDtypeStruct(shape, jnp.float32),
    )


def fold(images: Float[Array, "b h w c"], patch_size: int) -> Float[Array, "b h2 w2 c2"]:
    """Square patches of pixels into channels."""
    return einops.rearrange(images, "b (h i) (w j) c -> b h w (i j c)", i=patch_size, j=patch_size)


def unfold(values: Float[Array, "b h w c"], patch_size: int) -> Float[Array, "b h2 w2 c2"]:
    """Inverse of `fold`."""
    return einops.rearrange(values, "b h w (i j c) -> b (h i) (w j) c", i=patch_size, j=patch_size)
