"""RQ-Transformer (arXiv 2203.01941): codes one by one, along the positions and down the levels."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from resgen_jax.core import build, errors, spaces
from resgen_jax.core import keys as random_keys
from resgen_jax.nn import (
    attention,
    causal,
    dropout,
    flops,
    functional,
    linear,
    modulation,
    transformer,
)
from resgen_jax.quantizers import rvq


@dataclasses.dataclass(frozen=True)
class Spec:
    """Choices of the network; the sizes of the codes come from the data.

    The published ones, all with heads of 64: (width, body, head) layers (1536, 12, 4) with 480.9 M
    parameters on ImageNet, (1536, 24, 4) with 820.9 M, (1536, 42, 6) with 1,387.5 M and
    (2560, 42, 6) with 3,822.5 M.
    """

    width: int = 128  # channels of a position and of a level
    num_heads: int = 4  # of attention
    num_body_layers: int = 4  # along the positions
    num_head_layers: int = 2  # down the levels of one position
    dropout_rate: float = 0.0  # of what blocks add, and of what goes into the body
    remat: str = "full"  # what is computed again for the gradient to save memory
    compute_dtype: str = "float32"  # of matmuls
    # For guidance: one more class, label `num_classes`. The published networks have none.
    has_null_class: bool = False

    def __post_init__(self):
        build.check_sizes(self, ("width", "num_heads", "num_body_layers", "num_head_layers"))
        attention.check_heads(self.width, self.num_heads)
        if not 0 <= self.dropout_rate < 1:
            raise errors.UserError(f"dropout_rate {self.dropout_rate} is outside [0, 1)")
        build.check_known(self, transformer.COMPUTE)

    def stack(self, num_layers: int) -> causal.Spec:
        """The layers of the body or of the head."""
        return causal.Spec(
            num_layers,
            self.width,
            self.num_heads,
            self.dropout_rate,
            self.remat,
            self.compute_dtype,
        )


class RqTransformer(nnx.Module):
    """The body reads whole positions, the head the levels of one; see section 3.2."""

    def __init__(self, spec: Spec, space: spaces.Space, rngs: nnx.Rngs):
        self.spec, self.space = spec, space
        width, dtype = spec.width, jnp.dtype(spec.compute_dtype)

        def table(*shape):
            axes = (*(None,) * (len(shape) - 1), "embed")
            return linear.table(shape, axes, linear.normal(0.02), rngs)

        self.classes = table(space.num_classes + spec.has_null_class, width)
        self.class_position = table(width)
        # The last is never read: what follows the last position is not asked for.
        self.positions = table(space.max_length, width)
        self.levels = table(space.codes.depth, width)
        self.body_in = linear.dense(space.codes.code_dim, width, (None, "embed"), dtype, rngs)
        self.head_in = linear.dense(space.codes.code_dim, width, (None, "embed"), dtype, rngs)
        self.body = causal.Stack(spec.stack(spec.num_body_layers), rngs)
        self.head = causal.Stack(spec.stack(spec.num_head_layers), rngs)
        self.norm = modulation.LayerNorm(width, causal.EPSILON, rngs)
        self.out = linear.dense_to_float32(
            width, space.codes.codebook_size, ("embed", "vocab"), dtype, rngs
        )

    def __call__(
        self,
        codes: Int[Array, "b l q"],
        labels: Int[Array, "b"],
        codebooks: Float[Array, "q v c"],
        keys: Key[Array, "b"] | None = None,
    ) -> Float[Array, "b l q v"]:
        """Logits of every code, given those before it; float32. Keys of rows turn dropout on."""
        use: dict[str, Any] = {"body": None, "head": None}
        if keys is not None:
            use = jax.vmap(lambda key: random_keys.named_keys(key, "body", "head"))(keys)
        sums = rvq.partial_sums(codes, codebooks)
        context = self.contexts(sums[..., -1, :], labels, use["body"])
        return self.logits(context, sums[..., :-1, :], use["head"])

    def contexts(
        self,
        quantized: Float[Array, "b l c"],
        labels: Int[Array, "b"],
        keys: Key[Array, "b"] | None = None,
    ) -> Float[Array, "b l d"]:
        """What the body tells the head of each position, from the class and the positions before.

        `quantized` holds the vectors' sums; those of the last position are not read.
        """
        seen = self._seen(quantized[:, :-1], self.positions[...][: quantized.shape[1] - 1])
        values = jnp.concatenate([self._start(labels)[:, None], seen], axis=1)
        return self.body(self._drop(values, keys), keys)

    def logits(
        self,
        context: Float[Array, "b l d"],
        sums: Float[Array, "b l p c"],
        keys: Key[Array, "b"] | None = None,
    ) -> Float[Array, "b l p2 v"]:
        """Logits of the first p + 1 levels, from the sums of the first 1 to p levels' vectors."""
        dtype = jnp.dtype(self.spec.compute_dtype)
        first = context[:, :, None, :].astype(dtype)
        values = jnp.concatenate([first, self.head_in(sums)], axis=2)
        values = values.reshape(-1, *values.shape[2:])
        levels = self.levels[...].astype(dtype)[None, : values.shape[1]]
        if keys is not None:  # one for each position
            keys = transformer.split_rows(keys, context.shape[1]).T.reshape(-1)
        logits = self._scores(self.head(values + levels, keys))
        return logits.reshape(*context.shape[:2], *logits.shape[1:])

    def context_step(
        self,
        quantized: Float[Array, "b c"],
        labels: Int[Array, "b"],
        cache: causal.Cache,
        position: Int[Array, ""],
    ) -> tuple[Float[Array, "b d"], causal.Cache]:
        """`contexts` of one position, from the sum of the one before it and the body's cache."""
        place = jax.lax.dynamic_slice_in_dim(self.positions[...], position - 1, 1)
        seen = self._seen(quantized[:, None], place)[:, 0]
        value = jnp.where(position == 0, self._start(labels), seen)
        return self.body.step(value.astype(jnp.dtype(self.spec.compute_dtype)), cache, position)

    def logits_step(
        self,
        context: Float[Array, "b d"],
        total: Float[Array, "b c"],
        cache: causal.Cache,
        level: Int[Array, ""],
    ) -> tuple[Float[Array, "b v"], causal.Cache]:
        """`logits` of one level, from the sum of the levels above it and the head's cache."""
        dtype = jnp.dtype(self.spec.compute_dtype)
        value = jnp.where(level == 0, context.astype(dtype), self.head_in(total))
        place = jax.lax.dynamic_slice_in_dim(self.levels[...], level, 1).astype(dtype)
        hidden, cache = self.head.step(value + place, cache, level)
        return self._scores(hidden), cache

    def _start(self, labels):
        """What the body reads at the first position: the class."""
        return self.classes[...][labels] + self.class_position[...][None]

    def _seen(self, quantized, positions):
        """What it reads after positions of these sums."""
        # Each level's vector passes the layer by itself, so its bias counts once for each.
        bias = self.body_in.bias[...].astype(jnp.float32) * (self.space.codes.depth - 1)
        return self.body_in(quantized).astype(jnp.float32) + bias[None, None] + positions[None]

    def _scores(self, hidden):
        return self.out(self.norm(hidden)).astype(jnp.float32)

    def _drop(self, values, keys):
        if keys is not None:
            keys = jax.vmap(lambda key: random_keys.named_keys(key, "embedding"))(keys)["embedding"]
        dtype = jnp.dtype(self.spec.compute_dtype)
        return dropout.of_rows(keys, values, self.spec.dropout_rate).astype(dtype)


@functools.cache  # tracing a network is slow; it holds no state
def make(spec: Spec, space: spaces.Space) -> functional.Network:
    """`init` and `apply` of the network; methods `context_step` and `logits_step` for sampling."""
    return functional.from_module(lambda rngs: RqTransformer(spec, space, rngs))


def empty_caches(
    spec: Spec, space: spaces.Space, batch_size: int
) -> tuple[causal.Cache, causal.Cache]:
    """Those of body and head before the first position and the first level."""
    return (
        causal.empty_cache(spec.stack(spec.num_body_layers), batch_size, space.max_length),
        causal.empty_cache(spec.stack(spec.num_head_layers), batch_size, space.codes.depth),
    )


def forward_program(spec: Spec, space: spaces.Space, batch_size: int) -> tuple[Callable, tuple]:
    """A forward pass over a batch, and its abstract arguments."""
    network = make(spec, space)
    tables = space.codes.codebooks_shape
    return network.apply, (
        jax.eval_shape(network.init, jax.random.key(0)),
        jax.ShapeDtypeStruct((batch_size, space.max_length, space.codes.depth), jnp.int32),
        jax.ShapeDtypeStruct((batch_size,), jnp.int32),
        jax.ShapeDtypeStruct(tables, jnp.float32),
    )


@functools.cache
def forward_flops(spec: Spec, space: spaces.Space) -> float:
    """Matmul operations of one forward pass over one example."""

    def of_batch(batch_size: int) -> float:
        program = forward_program(spec, space, batch_size)
        return flops.count(program[0], *program[1])

    # Of two examples and one, the difference: what is done once a batch does not count.
    return of_batch(2) - of_batch(1)
