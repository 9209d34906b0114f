"""Multi-head attention: to all positions, to those before, to the real ones, to a context."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from resgen_jax.core import errors
from resgen_jax.nn import dropout, linear, modulation, positions


def attend(
    query: Float[Array, "b l a k"],
    key: Float[Array, "b m a k"],
    value: Float[Array, "b m a k"],
    may_attend: Bool[Array, "#b #l m"] | None = None,
    drop: Callable[[Float[Array, "b a l m"]], Float[Array, "b a l m"]] = lambda share: share,
) -> Float[Array, "b l a k"]:
    """softmax(<query, key> / sqrt(k)) value for each head; logits and softmax in float32.

    Without `may_attend` each query attends to all; one that may attend to none finds zeros. What
    no query may attend to has no influence as long as it is finite. `drop` is what becomes of the
    shares before they weigh the values.
    `jax.nn.dot_product_attention` has no gradient in bfloat16 under strict dtype promotion.
    """
    logits = jnp.einsum("blak,bmak->balm", query, key, preferred_element_type=jnp.float32)
    where = None if may_attend is None else may_attend[:, None]
    share = drop(jax.nn.softmax(logits / math.sqrt(query.shape[-1]), axis=-1, where=where))
    return jnp.einsum("balm,bmak->blak", share.astype(value.dtype), value)


def check_heads(width: int, num_heads: int, where: str = "") -> None:
    """Raises UserError unless the heads share the width evenly."""
    if width % num_heads:
        raise errors.UserError(
            f"{where}width {width} is not a multiple of num_heads {num_heads}; "
            f"use {width // num_heads * num_heads or num_heads}"
        )


def to_earlier(length: int) -> Bool[Array, "one l l"]:
    """`may_attend` of causal attention: each position to itself and to those before it."""
    return jnp.tri(length, dtype=bool)[None]


def without_padding(
    values: Float[Array, "b l d"], is_valid: Bool[Array, "b l"] | None
) -> Float[Array, "b l d"]:
    """Zeros where not valid, so that nothing there, not even NaN, reaches anything else."""
    return values if is_valid is None else jnp.where(is_valid[..., None], values, 0)


def split_heads(values: Float[Array, "b l d"], num_heads: int) -> Float[Array, "b l a k"]:
    """The channels of each head by themselves."""
    return values.reshape(*values.shape[:-1], num_heads, -1)


class Attention(nnx.Module):
    """Every position attends to every valid position; rotary angles turn queries and keys.

    With `normalises_queries` they have a learned size per channel, the same in all heads
    (QK-norm, arXiv 2010.04245): logits cannot grow without it.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        dtype,
        rngs: nnx.Rngs,
        dropout_rate: float = 0.0,
        normalises_queries: bool = False,
    ):
        self.num_heads, self.dropout_rate = num_heads, dropout_rate
        head_width = width // num_heads
        self.normalises_queries = normalises_queries
        if normalises_queries:
            ones = nnx.initializers.ones
            self.query_size = linear.table((head_width,), (None,), ones, rngs)
            self.key_size = linear.table((head_width,), (None,), ones, rngs)
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
        is_valid: Bool[Array, "b l"] | None = None,
    ) -> Float[Array, "b l d"]:
        """Keys, one for each row, drop shares of the attention; padding must be finite."""
        query, key, value = (
            split_heads(project(values), self.num_heads)
            for project in (self.query, self.key, self.value)
        )
        if self.normalises_queries:
            query, key = (
                modulation.rms_norm(each) * size[...].astype(each.dtype)[None, None, None]
                for each, size in ((query, self.query_size), (key, self.key_size))
            )
        if angles is not None:
            query, key = positions.rotate(query, angles), positions.rotate(key, angles)
        mixed = attend(
            query,
            key,
            value,
            None if is_valid is None else is_valid[:, None],
            lambda share: dropout.of_rows(dropout_keys, share, self.dropout_rate),
        )
        return self.out(mixed.reshape(values.shape))


class CrossAttention(nnx.Module):
    """Every position attends to the valid vectors of a context, whose order does not matter.

    What it adds begins as zeros: a network that is given a context begins as one without.
    """

    def __init__(
        self,
        width: int,
        context_dim: int,
        num_heads: int,
        dtype,
        rngs: nnx.Rngs,
        dropout_rate: float = 0.0,
    ):
        self.num_heads, self.dropout_rate = num_heads, dropout_rate

        def project(in_dim, axes, init=linear.lecun):
            return linear.dense(in_dim, width, axes, dtype, rngs, use_bias=False, init=init)

        self.query = project(width, ("embed", "heads"))
        self.key = project(context_dim, (None, "heads"))
        self.value = project(context_dim, (None, "heads"))
        self.out = project(width, ("heads", "embed"), linear.zeros)

    def __call__(
        self,
        values: Float[Array, "b l d"],
        context: Float[Array, "b m e"],
        is_valid: Bool[Array, "b m"],
        dropout_keys: Key[Array, "b"] | None = None,
    ) -> Float[Array, "b l d"]:
        """`is_valid` tells the vectors of the context from its padding, which must be finite."""
        mixed = attend(
            split_heads(self.query(values), self.num_heads),
            split_heads(self.key(context), self.num_heads),
            split_heads(self.value(context), self.num_heads),
            is_valid[:, None],
            lambda share: dropout.of_rows(dropout_keys, share, self.dropout_rate),
        )
        return self.out(mixed.reshape(values.shape))
