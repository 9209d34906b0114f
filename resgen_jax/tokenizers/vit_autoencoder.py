"""Images to a line of latents and back, by two vision transformers: SoftVQ-VAE's networks.

SoftVQ-VAE (arXiv 2412.10958): the encoder sees patches and learned latent tokens, and what comes
out at the latter are the latents; the decoder sees copies of a mask token and the latents, and what
comes out at the former are patches. The quantizer between them is a pure function: `soft_vq`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from resgen_jax.core import build, errors
from resgen_jax.nn import flops, functional, linear, patches, vit

BASE = vit.preset("b")
NUM_LATENT_CHANNELS = 2048  # of all latents of an image together, in the published sizes


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of the autoencoder; the defaults are those of the published SoftVQ-B of 64 latents."""

    image_size: int = 256  # side in pixels
    channels: int = 3  # of the images: 1 = gray, 3 = colour
    patch_size: int = 16  # side in pixels
    length: int = 64  # latents of an image
    code_dim: int = 32  # channels of a latent
    encoder: vit.Spec = BASE
    decoder: vit.Spec = BASE

    def __post_init__(self):
        build.check_sizes(self, ("image_size", "channels", "patch_size", "length", "code_dim"))
        if self.image_size % self.patch_size:
            below = self.image_size // self.patch_size * self.patch_size
            sizes = f"{below} or {below + self.patch_size}" if below else f"{self.patch_size}"
            raise errors.UserError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}; "
                f"use {sizes}"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches; the latents lie on a line, not on it."""
        side = self.image_size // self.patch_size
        return side, side

    @property
    def patch_dim(self) -> int:
        """Numbers in a patch."""
        return self.patch_size**2 * self.channels

    @property
    def images_shape(self) -> tuple[int, int, int]:
        """Of one image, "h w c"."""
        return self.image_size, self.image_size, self.channels


def preset(encoder: str, decoder: str, length: int = 64, image_size: int = 256) -> Spec:
    """SoftVQ-VAE of published sizes: `preset("b", "l", 32)` is SoftVQ-BL of 32 latents.

    Latents of one image are 2048 numbers, however many they are. Raises UserError for an unknown
    size, and for a length that does not divide 2048.
    """
    if length < 1 or NUM_LATENT_CHANNELS % length:
        raise errors.UserError(
            f"length is {length}; expected one that divides {NUM_LATENT_CHANNELS}, as the "
            "published 64 and 32: give a Spec its own code_dim for another"
        )
    code_dim, networks = NUM_LATENT_CHANNELS // length, (vit.preset(encoder), vit.preset(decoder))
    return Spec(image_size, 3, 16, length, code_dim, *networks)


def _dense(in_dim: int, out_dim: int, axes: tuple, spec: vit.Spec, rngs: nnx.Rngs) -> nnx.Linear:
    """A layer into or out of a transformer; it starts even, as PyTorch's do."""
    start, dtype = linear.even(1 / math.sqrt(in_dim)), jnp.dtype(spec.compute_dtype)
    return linear.dense_to_float32(in_dim, out_dim, axes, dtype, rngs, init=start, bias_init=start)


class Encoder(nnx.Module):
    """Images to latents: class token, patches, latent tokens; the last ones' outputs, projected."""

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        self.spec = spec
        width, axes = spec.encoder.width, (None, "embed")
        self.patches = _dense(spec.patch_dim, width, axes, spec.encoder, rngs)
        self.latent_tokens = linear.table((spec.length, width), axes, vit.INIT, rngs)
        self.latent_positions = linear.table((spec.length, width), axes, vit.INIT, rngs)
        self.vit = vit.Vit(spec.encoder, math.prod(spec.grid), rngs)
        self.out = _dense(width, spec.code_dim, ("embed", None), spec.encoder, rngs)

    def __call__(self, images: Float[Array, "b h w c"]) -> Float[Array, "b l code_dim"]:
        tokens = self.patches(patches.split(images, self.spec.patch_size))
        asked = self.latent_tokens[...] + self.latent_positions[...]
        others = jnp.broadcast_to(asked[None], (len(images), *asked.shape))
        return self.out(self.vit(tokens, others)[:, -self.spec.length :])


class Decoder(nnx.Module):
    """Latents to images: class token, copies of the mask token, latents; the copies' outputs."""

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        self.spec = spec
        width, axes = spec.decoder.width, (None, "embed")
        self.latents = _dense(spec.code_dim, width, axes, spec.decoder, rngs)
        self.mask_token = linear.table((width,), ("embed",), vit.INIT, rngs)
        self.latent_positions = linear.table((spec.length, width), axes, vit.INIT, rngs)
        self.vit = vit.Vit(spec.decoder, math.prod(spec.grid), rngs)
        self.out = _dense(width, spec.patch_dim, ("embed", None), spec.decoder, rngs)

    def features(self, latents: Float[Array, "b l c"]) -> Float[Array, "b n d"]:
        """All but the last layer, a vector for each patch."""
        shape = len(latents), math.prod(self.spec.grid), self.spec.decoder.width
        masks = jnp.broadcast_to(self.mask_token[...][None, None], shape)
        others = self.latents(latents) + self.latent_positions[...][None]
        return self.vit(masks, others)[:, 1 : 1 + shape[1]]

    def finish(self, features: Float[Array, "b n d"]) -> Float[Array, "b h w c"]:
        """The last layer, and its patches put together."""
        return patches.join(self.out(features), self.spec.grid, self.spec.patch_size)


class VitAutoencoder(nnx.Module):
    """The two networks around the quantizer; all that comes out is float32."""

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        self.spec = spec
        self.encoder, self.decoder = Encoder(spec, rngs), Decoder(spec, rngs)

    def encode(self, images: Float[Array, "b h w c"]) -> Float[Array, "b l code_dim"]:
        """Latents of images in [-1, 1]; UserError for images of another size."""
        if images.shape[1:] != self.spec.images_shape:
            raise errors.UserError(
                f"images are {images.shape[1:]}; this tokenizer was made for "
                f"{self.spec.images_shape}: resize them, or see `at_image_size`"
            )
        return self.encoder(images)

    def features(self, quantized: Float[Array, "b l c"]) -> Float[Array, "b n d"]:
        """What the last layer of the decoder sees; UserError for latents of another shape."""
        expected = self.spec.length, self.spec.code_dim
        if quantized.shape[1:] != expected:
            raise errors.UserError(
                f"latents are {quantized.shape[1:]}; this tokenizer was made for {expected}: "
                "positions, then channels"
            )
        return self.decoder.features(quantized)

    def finish(self, features: Float[Array, "b n d"]) -> Float[Array, "b h w c"]:
        """Images out of `features`: the last layer."""
        return self.decoder.finish(features)

    def decode(self, quantized: Float[Array, "b l c"]) -> Float[Array, "b h w channels"]:
        """Images from latents, not clipped."""
        return self.finish(self.features(quantized))


@functools.cache  # tracing a network is slow; it holds no state
def make(spec: Spec) -> functional.Network:
    """`init` and `apply` of the two networks; methods `encode`, `decode`, `features`, `finish`."""
    return functional.from_module(lambda rngs: VitAutoencoder(spec, rngs))


def at_image_size(params: dict, spec: Spec, image_size: int) -> tuple[dict, Spec]:
    """The same networks for images of another size: their position tables are interpolated.

    Raises UserError for a size that is not a multiple of the patches'.
    """
    new = dataclasses.replace(spec, image_size=image_size)

    def resized(part: dict) -> dict:
        table = patches.resize_positions(part["vit"]["positions"], spec.grid, new.grid)
        return part | {"vit": part["vit"] | {"positions": table}}

    return {name: resized(part) for name, part in params.items()}, new


def forward_program(spec: Spec, batch_size: int) -> tuple[Callable, tuple]:
    """Encoding and decoding a batch, and its abstract arguments."""
    network = make(spec)

    def forward(params, images):
        return network.apply(
            params, network.apply(params, images, method="encode"), method="decode"
        )

    params = jax.eval_shape(network.init, jax.random.key(0))
    shape = batch_size, *spec.images_shape
    return forward, (params, jax.ShapeDtypeStruct(shape, jnp.float32))


@functools.cache
def forward_flops(spec: Spec) -> float:
    """Matmul operations of encoding and decoding one image, of which a multiply-add is two."""
    forward, arguments = forward_program(spec, 1)
    return flops.count(forward, *arguments)
