"""Normalisation modulated by a condition: adaLN with one network shared by all layers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from resgen_jax.nn import linear


def layer_norm(values: Float[Array, "... d"], epsilon: float = 1e-6) -> Float[Array, "... d"]:
    """Zero mean and unit variance per position, computed in float32, without an affine part."""
    wide = values.astype(jnp.float32)
    centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1, keepdims=True)
    return (centred * jax.lax.rsqrt(variance + epsilon)).astype(values.dtype)


def rms_norm(values: Float[Array, "... d"], epsilon: float = 1e-6) -> Float[Array, "... d"]:
    """A root mean square of 1 per position, computed in float32, without an affine part."""
    wide = values.astype(jnp.float32)
    square = jnp.mean(wide**2, axis=-1, keepdims=True)
    return (wide * jax.lax.rsqrt(square + epsilon)).astype(values.dtype)


class LayerNorm(nnx.Module):
    """`layer_norm`, then a learned scale and bias for each channel; all in float32."""

    def __init__(self, width: int, epsilon: float, rngs: nnx.Rngs):
        self.epsilon = epsilon
        self.scale = linear.table((width,), ("embed",), nnx.initializers.ones, rngs)
        self.bias = linear.table((width,), ("embed",), linear.zeros, rngs)

    def __call__(self, values: Float[Array, "... d"]) -> Float[Array, "... d"]:
        normed = layer_norm(values.astype(jnp.float32), self.epsilon)
        shape = (1,) * (values.ndim - 1) + (-1,)
        normed = normed * self.scale[...].reshape(shape) + self.bias[...].reshape(shape)
        return normed.astype(values.dtype)


# By the name that a config has for each.
NORMS: dict[str, Callable] = {"layer": layer_norm, "rms": rms_norm}


def modulate(
    values: Float[Array, "b l d"],
    shift: Float[Array, "b #l d"],
    scale: Float[Array, "b #l d"],
    norm: Callable = layer_norm,
) -> Float[Array, "b l d"]:
    """`norm(values) * (1 + scale) + shift`; both may be the same at all positions."""
    return norm(values) * (1 + scale) + shift


class SharedModulation(nnx.Module):
    """Condition -> the modulation vectors of all layers at once (ResGen section 5).

    Linear, SiLU, Linear; the last one starts at zero, so every gate is closed at the start. Each
    layer adds its own learned offset, which costs 6 vectors a layer and no matrix. The vectors are
    float32: the last modulation of a network needs them so.
    """

    def __init__(self, in_dim: int, hidden_dim: int, num_vectors: int, width: int, dtype, rngs):
        self.num_vectors = num_vectors
        self.up = linear.dense(in_dim, hidden_dim, ("embed", "mlp"), dtype, rngs)
        self.down = linear.dense_to_float32(
            hidden_dim, num_vectors * width, ("mlp", "embed"), dtype, rngs, init=linear.zeros
        )

    def __call__(self, condition: Float[Array, "b l e"]) -> list[Float[Array, "b l d"]]:
        """The vectors, each an array of its own: slices of one would be padded back together."""
        vectors = self.down(jax.nn.silu(self.up(condition)))
        return jnp.split(vectors, self.num_vectors, axis=-1)
