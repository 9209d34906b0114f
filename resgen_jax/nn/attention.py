"""Bidirectional multi-head attention without biases."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from resgen_jax.nn import dropout, linear, positions


def attend(
    query: Float[Array, "b l a k"],
    key: Float[Array, "b l a k"],
    value: Float[Array, "b l a k"],
    drop: Callable[[Float[Array, "b a l m"]], Float[Array, "b a l m"]] = lambda share: share,
) -> Float[Array, "b l a k"]:
    """softmax(<query, key> / sqrt(k)) value for each head; logits and softmax in float32.

    `drop` is what becomes of the shares before they weigh the values.
    `jax.nn.dot_product_attention` has no gradient in bfloat16 under strict dtype promotion.
    """
    logits = jnp.einsum("blak,bmak->balm", query, key, preferred_element_type=jnp.float32)
    share = drop(jax.nn.softmax(logits / math.sqrt(query.shape[-1]), axis=-1))
    return jnp.einsum("balm,bmak->blak", share.astype(value.dtype), value)


class Attention(nnx.Module):
    """Every position attends to every position; rotary angles turn queries and keys."""

    def __init__(
        self, width: int, num_heads: int, dtype, rngs: nnx.Rngs, dropout_rate: float = 0.0
    ):
        self.num_heads, self.dropout_rate = num_heads, dropout_rate
        head_width = width // num_heads
        # The query starts sqrt(head_width) smaller than the key: flat attention at the start.
        query_init = linear.normal(1 / math.sqrt(width * head_width))

        def project(init):
            return linear.dense(
                width, width, ("embed", "heads"), dtype, rngs, use_bias=False, init=init
            )

        self.query, self.key, self.value = (
            project(query_init),
            project(linear.lecun),
            project(linear.lecun),
        )
        self.out = linear.dense(width, width, ("heads", "embed"), dtype, rngs, use_bias=False)

    def __call__(
        self,
        values: Float[Array, "b l d"],
        angles: Float[Array, "l half"] | None,
        dropout_keys: Key[Array, "b"] | None = None,
    ) -> Float[Array, "b l d"]:
        """Keys, one for each row, drop shares of the attention."""

        def heads(project):
            projected = project(values)
            return projected.reshape(*projected.shape[:-1], self.num_heads, -1)

        query, key, value = heads(self.query), heads(self.key), heads(self.value)
        if angles is not None:
            query, key = positions.rotate(query, angles), positions.rotate(key, angles)
        mixed = attend(
            query,
            key,
            value,
            lambda share: dropout.of_rows(dropout_keys, share, self.dropout_rate),
        )
        return self.out(mixed.reshape(values.shape))
