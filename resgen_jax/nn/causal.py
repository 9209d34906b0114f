"""Causal layers, run on a whole sequence, or place by place with what they keep of the past."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from resgen_jax.nn import attention, dropout, linear, modulation, transformer

EPSILON = 1e-5
MLP_RATIO = 4


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes and choices of a stack of layers; the hidden width of an MLP is four times `width`."""

    num_layers: int
    width: int
    num_heads: int
    dropout_rate: float = 0.0
    remat: str = "full"
    compute_dtype: str = "float32"


class Cache(NamedTuple):
    """Attention's keys and values at the places so far; those of later places are not read."""

    keys: Float[Array, "*n b l a k"]  # n layers, or one
    values: Float[Array, "*n b l a k"]


def empty_cache(spec: Spec, batch_size: int, length: int) -> Cache:
    """The cache of a stack before its first place; `length` places fit in."""
    head_width = spec.width // spec.num_heads
    shape = (spec.num_layers, batch_size, length, spec.num_heads, head_width)
    zeros = jnp.zeros(shape, jnp.dtype(spec.compute_dtype))
    return Cache(zeros, zeros)


def put(cache: Cache, new: Cache, place: Int[Array, ""]) -> Cache:
    """The cache with the keys and values of one more place."""
    axis = cache.keys.ndim - 3
    return jax.tree.map(
        lambda old, one: jax.lax.dynamic_update_slice_in_dim(old, one, place, axis), cache, new
    )


class Block(nnx.Module):
    """Causal attention and a feed-forward layer, each normalised before and added to its input."""

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        self.spec = spec
        width, hidden = spec.width, MLP_RATIO * spec.width
        dtype = jnp.dtype(spec.compute_dtype)
        self.norm_attention, self.norm_mlp = (
            modulation.LayerNorm(width, EPSILON, rngs),
            modulation.LayerNorm(width, EPSILON, rngs),
        )
        self.query, self.key, self.value = (
            linear.dense(width, width, ("embed", "heads"), dtype, rngs) for _ in range(3)
        )
        self.out = linear.dense(width, width, ("heads", "embed"), dtype, rngs)
        self.up = linear.dense(width, hidden, ("embed", "mlp"), dtype, rngs)
        self.down = linear.dense(hidden, width, ("mlp", "embed"), dtype, rngs)

    def __call__(
        self, values: Float[Array, "b l d"], keys: Key[Array, "b"] | None
    ) -> Float[Array, "b l d"]:
        """Keys, one for each row, turn dropout on."""
        query, key, value = self._heads(values)
        may_attend = attention.to_earlier(values.shape[1])
        return self._add(values, attention.attend(query, key, value, may_attend), keys)

    def step(
        self, values: Float[Array, "b one d"], cache: Cache, place: Int[Array, ""]
    ) -> tuple[Float[Array, "b one d"], Cache]:
        """A call's values at one place, those before it in this layer's cache; key and value."""
        query, *own = self._heads(values)
        new = Cache(*own)
        key, value = put(cache, new, place)
        may_attend = (jnp.arange(key.shape[1]) <= place)[None, None]
        return self._add(values, attention.attend(query, key, value, may_attend), None), new

    def _heads(self, values):
        """Query, key and value of every head."""
        normed = self.norm_attention(values)
        return [
            attention.split_heads(project(normed), self.spec.num_heads)
            for project in (self.query, self.key, self.value)
        ]

    def _add(self, values, mixed, keys):
        """The input, what attention found, and what the feed-forward layer makes of both."""
        rate = self.spec.dropout_rate
        first, second = (None, None) if keys is None else transformer.split_rows(keys, 2)
        values = values + dropout.of_rows(first, self.out(mixed.reshape(values.shape)), rate)
        hidden = jax.nn.gelu(self.up(self.norm_mlp(values)), approximate=False)
        return values + dropout.of_rows(second, self.down(hidden), rate)


class Stack(nnx.Module):
    """Blocks one after the other, without a normalisation at the end; the layers are one scan."""

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        self.spec = spec
        make_block = nnx.vmap(
            lambda layer_rngs: Block(spec, layer_rngs),
            in_axes=0,
            out_axes=0,
            transform_metadata={nnx.PARTITION_NAME: "layers"},
        )
        self.blocks = make_block(rngs.split(spec.num_layers))

    def __call__(
        self, values: Float[Array, "b l d"], keys: Key[Array, "b"] | None
    ) -> Float[Array, "b l d"]:
        """Keys, one for each row, turn dropout on."""
        graph, weights = nnx.split(self.blocks)
        layer_keys = None if keys is None else transformer.split_rows(keys, self.spec.num_layers)

        def layer(values, weights_and_keys):
            weights, row_keys = weights_and_keys
            return nnx.merge(graph, weights)(values, row_keys), None

        remat = transformer.REMAT[self.spec.remat]
        return jax.lax.scan(remat(layer), values, (weights, layer_keys))[0]

    def step(
        self, values: Float[Array, "b d"], cache: Cache, place: Int[Array, ""]
    ) -> tuple[Float[Array, "b d"], Cache]:
        """A call's values at one place, from its input and the cache of those before."""
        graph, weights = nnx.split(self.blocks)

        def layer(values, weights_and_cache):
            weights, seen = weights_and_cache
            return nnx.merge(graph, weights).step(values, seen, place)

        values, new = jax.lax.scan(layer, values[:, None], (weights, cache))
        # Written after the scan and not in it, where all of the cache would be copied.
        return values[:, 0], put(cache, new, place)
