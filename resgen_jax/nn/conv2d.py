"""Convolutional blocks of the VQGAN family: residual, attention, down- and upsampling."""

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from resgen_jax.nn import attention, linear


class Conv(nnx.Conv):
    """A convolution which is one matmul of its patches where the map is smaller than the kernel.

    There a matmul is the natural form: every output sees nearly the whole map. The compiler's own
    convolution took seven times as long on 2x2 maps of 128 channels (forward and backward, CPU).
    """

    def __call__(  # type: ignore[override]  # flax's shardings are not ours
        self, values: Float[Array, "b h w c"]
    ) -> Float[Array, "b h2 w2 d"]:
        height, width = values.shape[1:3]
        size = self.kernel_size[0]
        if self.padding != "SAME" or self.strides not in (1, (1, 1)) or min(height, width) >= size:
            return super().__call__(values)
        values = values.astype(self.dtype)
        border = ((size - 1) // 2, size // 2)
        padded = jnp.pad(values, ((0, 0), border, border, (0, 0)))
        shifted = [
            padded[:, row : row + height, column : column + width]
            for row in range(size)
            for column in range(size)
        ]
        kernel = self.kernel[...].reshape(-1, self.kernel.shape[-1]).astype(self.dtype)
        patches = jnp.concatenate(shifted, axis=-1)
        values = jnp.einsum("bhwc,cd->bhwd", patches, kernel)
        if self.bias is None:
            return values
        return values + self.bias[...].astype(self.dtype)[None, None, None, :]


def conv(
    in_channels: int,
    out_channels: int,
    size: int,
    rngs: nnx.Rngs,
    *,
    strides: int = 1,
    padding: str | tuple = "SAME",
    init=linear.lecun,
    use_bias: bool = True,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Conv:
    """A square convolution in `dtype` with the logical axes of its float32 kernel named."""
    return Conv(
        in_channels,
        out_channels,
        (size, size),
        strides=strides,
        padding=padding,
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=nnx.with_partitioning(init, (None, None, "embed", "mlp")),
        bias_init=nnx.with_partitioning(linear.zeros, ("mlp",)),
        rngs=rngs,
    )


class GroupNorm(nnx.GroupNorm):
    """Group normalisation in float32, whatever comes in."""

    def __call__(  # type: ignore[override]  # flax's masks are not ours
        self, values: Float[Array, "b h w c"]
    ) -> Float[Array, "b h w c"]:
        return super().__call__(values.astype(jnp.float32))


def group_norm(channels: int, rngs: nnx.Rngs) -> GroupNorm:
    """Group normalisation with up to 32 groups of at least four channels each."""
    num_groups = next(n for n in range(min(32, max(1, channels // 4)), 0, -1) if channels % n == 0)
    return GroupNorm(channels, num_groups=num_groups, epsilon=1e-6, rngs=rngs)


class ResidualBlock(nnx.Module):
    """Two normalised 3x3 convolutions around a skip connection."""

    def __init__(self, in_channels: int, out_channels: int, rngs: nnx.Rngs, dtype=jnp.float32):
        self.norm_in = group_norm(in_channels, rngs)
        self.conv_in = conv(in_channels, out_channels, 3, rngs, dtype=dtype)
        self.norm_out = group_norm(out_channels, rngs)
        # Zero at the start: the block begins as its skip connection.
        self.conv_out = conv(out_channels, out_channels, 3, rngs, init=linear.zeros, dtype=dtype)
        self.skip = (
            conv(in_channels, out_channels, 1, rngs, dtype=dtype)
            if in_channels != out_channels
            else None
        )

    def __call__(self, values: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        hidden = self.conv_in(jax.nn.silu(self.norm_in(values)))
        hidden = self.conv_out(jax.nn.silu(self.norm_out(hidden)))
        return hidden + (values if self.skip is None else self.skip(values))


class FusedAttention(nnx.Module):
    """Single-head attention over all places of the map, around a skip; one projection (VAR)."""

    def __init__(self, channels: int, rngs: nnx.Rngs, dtype=jnp.float32):
        self.norm = group_norm(channels, rngs)
        self.project = conv(channels, 3 * channels, 1, rngs, dtype=dtype)
        self.out = conv(channels, channels, 1, rngs, init=linear.zeros, dtype=dtype)

    def __call__(self, values: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        parts = jnp.split(self.project(self.norm(values)), 3, axis=-1)
        return values + self.out(_over_places(*parts))


class SeparateAttention(nnx.Module):
    """As `FusedAttention`, with a projection each for query, key and value (VQGAN, RQ-VAE)."""

    def __init__(self, channels: int, rngs: nnx.Rngs, dtype=jnp.float32):
        self.norm = group_norm(channels, rngs)
        self.query, self.key, self.value = (
            conv(channels, channels, 1, rngs, dtype=dtype) for _ in range(3)
        )
        self.out = conv(channels, channels, 1, rngs, init=linear.zeros, dtype=dtype)

    def __call__(self, values: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        normed = self.norm(values)
        mixed = _over_places(self.query(normed), self.key(normed), self.value(normed))
        return values + self.out(mixed)


ATTENTIONS = {"separate": SeparateAttention, "fused": FusedAttention}


def _over_places(
    query: Float[Array, "b h w c"], key: Float[Array, "b h w c"], value: Float[Array, "b h w c"]
) -> Float[Array, "b h w c"]:
    parts = (query, key, value)
    flat = [einops.rearrange(part, "b h w c -> b (h w) 1 c") for part in parts]
    return attention.attend(flat[0], flat[1], flat[2]).reshape(value.shape)


class Downsample(nnx.Module):
    """Half the sides, by a strided 3x3 convolution padded below and to the right."""

    def __init__(self, channels: int, rngs: nnx.Rngs, dtype=jnp.float32):
        padding = ((0, 1), (0, 1))
        self.conv = conv(channels, channels, 3, rngs, strides=2, padding=padding, dtype=dtype)

    def __call__(self, values: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        return self.conv(values)


class Upsample(nnx.Module):
    """Twice the sides: nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int, rngs: nnx.Rngs, dtype=jnp.float32):
        self.conv = conv(channels, channels, 3, rngs, dtype=dtype)

    def __call__(self, values: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        return self.conv(jnp.repeat(jnp.repeat(values, 2, axis=1), 2, axis=2))
