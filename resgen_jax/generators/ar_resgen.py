"""AR-ResGen: positions one after the other, each position's stack of codes by a head of ResGen.

The paper's counterpart (section 8.2) that is autoregressive over positions and leaves the depth to
the mixture: a network call for each position, whatever the depth.
"""

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
from resgen_jax.generators import conditioning, heads
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


@dataclasses.dataclass(frozen=True)
class Spec(heads.Spec):
    """Choices of the network; the sizes of the codes come from the data."""

    width: int = 128  # channels of a position
    num_heads: int = 4  # of attention
    num_layers: int = 4  # along the positions
    dropout_rate: float = 0.0  # of what blocks add, and of what goes into them
    remat: str = "full"  # what is computed again for the gradient to save memory
    compute_dtype: str = "float32"  # of matmuls

    def __post_init__(self):
        super().__post_init__()
        build.check_sizes(self, ("width", "num_heads", "num_layers"))
        attention.check_heads(self.width, self.num_heads, "model.")
        if not 0 <= self.dropout_rate < 1:
            raise errors.UserError(f"model.dropout_rate {self.dropout_rate} is outside [0, 1)")
        build.check_known(self, transformer.COMPUTE, "model.")

    @property
    def stack(self) -> causal.Spec:
        """The layers of the trunk."""
        return causal.Spec(
            self.num_layers,
            self.width,
            self.num_heads,
            self.dropout_rate,
            self.remat,
            self.compute_dtype,
        )


class ArResGen(heads.Heads):
    """A causal trunk over the sums of the positions before; the heads see no code of their own."""

    def __init__(self, spec: Spec, space: spaces.Space, rngs: nnx.Rngs):
        self.spec = spec
        width, dtype = spec.width, jnp.dtype(spec.compute_dtype)
        self.tokens = linear.dense(space.codes.code_dim, width, (None, "embed"), dtype, rngs)
        self.classes = conditioning.ClassEmbedding(space.num_classes, width, rngs)
        self.positions = linear.table(
            (space.max_length, width), (None, "embed"), linear.normal(0.02), rngs
        )
        self.trunk = causal.Stack(spec.stack, rngs)
        self.norm = modulation.LayerNorm(width, causal.EPSILON, rngs)
        self.add_heads(spec, width, space.codes, dtype, rngs)

    def hidden(
        self,
        quantized: Float[Array, "b l c"],
        labels: Int[Array, "b"],
        keys: Key[Array, "b"] | None = None,
    ) -> Float[Array, "b l d"]:
        """Final states of all positions, each from the class and the positions before it alone.

        `quantized` holds the vectors' sums; those of the last position are not read. Label
        `num_classes` is no class; keys of rows turn dropout on.
        """
        before = jnp.concatenate([jnp.zeros_like(quantized[:, :1]), quantized[:, :-1]], axis=1)
        values = self._read(before, labels, self.positions[...][: quantized.shape[1]])
        use: dict[str, Any] = {"embedding": None, "trunk": None}
        if keys is not None:
            use = jax.vmap(lambda key: random_keys.named_keys(key, "embedding", "trunk"))(keys)
        values = dropout.of_rows(use["embedding"], values, self.spec.dropout_rate)
        return self.norm(self.trunk(values, use["trunk"]))

    def step(
        self,
        before: Float[Array, "b c"],
        labels: Int[Array, "b"],
        cache: causal.Cache,
        position: Int[Array, ""],
    ) -> tuple[Float[Array, "b d"], causal.Cache]:
        """`hidden` of one position, from the sum of the one before it and the trunk's cache.

        Before the first position there is nothing: zeros.
        """
        place = jax.lax.dynamic_slice_in_dim(self.positions[...], position, 1)
        value = self._read(before[:, None], labels, place)[:, 0]
        state, cache = self.trunk.step(value, cache, position)
        return self.norm(state), cache

    def _read(self, before: Array, labels: Array, positions: Array) -> Array:
        """What the trunk reads: the sum of the position before, which position it is, the class."""
        values = self.tokens(before).astype(jnp.float32) + positions[None]
        values = values + self.classes(labels)[:, None]
        return values.astype(jnp.dtype(self.spec.compute_dtype))


@functools.cache  # tracing a network is slow; it holds no state
def make(spec: Spec, space: spaces.Space) -> functional.Network:
    """`init` and `apply` of the network; methods `hidden`, `step` and those of its heads."""
    return functional.from_module(lambda rngs: ArResGen(spec, space, rngs))


def forward_program(
    spec: Spec, space: spaces.Space, batch_size: int, *, with_code_head: bool
) -> tuple[Callable, tuple]:
    """A forward pass over a batch, heads and their losses' matmuls, and its abstract arguments."""
    network = make(spec, space)

    def forward(params, quantized, labels, codes, codebooks):
        states = network.apply(params, quantized, labels, method="hidden")
        told = states, quantized, codes, codebooks
        return heads.call(network, params, spec, told, with_code_head=with_code_head)

    cell = (batch_size, space.max_length)
    return forward, (
        jax.eval_shape(network.init, jax.random.key(0)),
        jax.ShapeDtypeStruct((*cell, space.codes.code_dim), jnp.float32),
        jax.ShapeDtypeStruct((batch_size,), jnp.int32),
        jax.ShapeDtypeStruct((*cell, space.codes.depth), jnp.int32),
        jax.ShapeDtypeStruct(space.codes.codebooks_shape, jnp.float32),
    )


@functools.cache
def forward_flops(spec: Spec, space: spaces.Space, *, with_code_head: bool) -> float:
    """Matmul operations of one forward pass over one example, heads and all."""

    def of_batch(batch_size: int) -> float:
        program = forward_program(spec, space, batch_size, with_code_head=with_code_head)
        return flops.count(program[0], *program[1])

    # Of two examples and one, the difference: what is done once a batch does not count.
    return of_batch(2) - of_batch(1)
