"""Blocks of a transformer whose norms follow one condition an example: adaLN-Zero.

DiT (arXiv 2212.09748, section 3.2): each block has a modulation of its own, and is the identity at
the start. `transformer` shares one modulation among all blocks, told at every position.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from resgen_jax.nn import attention, linear, modulation


class Modulation(nnx.Module):
    """SiLU and Linear: so many vectors of a condition, all zeros at the start."""

    def __init__(self, width: int, num_vectors: int, dtype, rngs: nnx.Rngs):
        self.num_vectors = num_vectors
        self.out = linear.dense(
            width, num_vectors * width, ("embed", "mlp"), dtype, rngs, init=linear.zeros
        )

    def __call__(self, condition: Float[Array, "b d"]) -> list[Float[Array, "b one d"]]:
        vectors = self.out(jax.nn.silu(condition))[:, None, :]
        return jnp.split(vectors, self.num_vectors, axis=-1)


class Attention(nnx.Module):
    """Every position attends to every valid one; all four layers have biases, nothing turns."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        dtype,
        rngs: nnx.Rngs,
        init: Callable = linear.xavier_of_three,
        out_init: Callable = linear.xavier,
    ):
        self.num_heads = num_heads

        def project():
            return linear.dense(width, width, ("embed", "heads"), dtype, rngs, init=init)

        self.query, self.key, self.value = project(), project(), project()
        axes = ("heads", "embed")
        self.out = linear.dense(width, width, axes, dtype, rngs, init=out_init)

    def __call__(
        self, values: Float[Array, "b l d"], is_valid: Bool[Array, "b l"] | None = None
    ) -> Float[Array, "b l d"]:
        """Padding must be finite."""
        query, key, value = (
            attention.split_heads(project(values), self.num_heads)
            for project in (self.query, self.key, self.value)
        )
        may_attend = None if is_valid is None else is_valid[:, None]
        mixed = attention.attend(query, key, value, may_attend)
        return self.out(mixed.reshape(values.shape))


class Block(nnx.Module):
    """Attention, then an MLP with the tanh form of GELU, each modulated and gated.

    The six vectors of the modulation are shift, scale and gate of the first, then of the second.
    """

    def __init__(self, width: int, num_heads: int, mlp_width: int, dtype, rngs: nnx.Rngs):
        self.attention = Attention(width, num_heads, dtype, rngs)
        init = linear.xavier
        self.up = linear.dense(width, mlp_width, ("embed", "mlp"), dtype, rngs, init=init)
        self.down = linear.dense(mlp_width, width, ("mlp", "embed"), dtype, rngs, init=init)
        self.modulation = Modulation(width, 6, dtype, rngs)

    def __call__(
        self,
        values: Float[Array, "b l d"],
        condition: Float[Array, "b d"],
        is_valid: Bool[Array, "b l"] | None = None,
    ) -> Float[Array, "b l d"]:
        """What comes out where not `is_valid` has no meaning."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.modulation(condition)
        normed = modulation.modulate(values, shift_a, scale_a)
        values = values + gate_a * self.attention(normed, is_valid)
        normed = modulation.modulate(values, shift_f, scale_f)
        return values + gate_f * self.down(jax.nn.gelu(self.up(normed), approximate=True))


class Final(nnx.Module):
    """A modulated norm, and a layer that starts at zero; what comes out is float32."""

    def __init__(self, width: int, out_dim: int, dtype, rngs: nnx.Rngs):
        self.modulation = Modulation(width, 2, dtype, rngs)
        axes = ("embed", None)
        self.out = linear.dense_to_float32(width, out_dim, axes, dtype, rngs, init=linear.zeros)

    def __call__(
        self, values: Float[Array, "b l d"], condition: Float[Array, "b d"]
    ) -> Float[Array, "b l e"]:
        shift, scale = self.modulation(condition)
        return self.out(modulation.modulate(values, shift, scale))
