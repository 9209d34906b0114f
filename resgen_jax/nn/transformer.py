"""A bidirectional transformer with shared adaLN; the layers are one scan."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from resgen_jax.core import build, errors
from resgen_jax.core import keys as random_keys
from resgen_jax.nn import attention, dropout, linear, modulation, positions

COMPUTE_DTYPES = ("float32", "bfloat16")
ACTIVATIONS: dict[str, Callable] = {
    "gelu": jax.nn.gelu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}
# What the backward pass keeps of a layer: all, the results of its matmuls, or only its input.
REMAT: dict[str, Callable] = {
    "none": lambda layer: layer,
    "matmuls": functools.partial(
        jax.checkpoint, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    ),
    "full": jax.checkpoint,
}

# Of every stack of layers: what its fields may be.
COMPUTE = {"remat": REMAT, "compute_dtype": COMPUTE_DTYPES}


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes and choices of the transformer; the defaults are small."""

    num_layers: int = 4  # how many blocks follow one another
    width: int = 128  # channels of a position
    num_heads: int = 4  # of attention
    mlp_width: int = 512  # hidden width of a block's MLP
    modulation_width: int = 256  # hidden width of the shared adaLN network
    rotary_base: float = 100.0  # of the angles that turn queries and keys; 0 = none
    activation: str = "gelu"  # of the MLPs
    norm: str = "layer"  # before attention and MLP: of mean and variance, or of the size alone
    # Each unit of an MLP is multiplied by a gate of its own, which has the activation (SwiGLU with
    # "silu"); two thirds of mlp_width then cost as much.
    has_gated_mlp: bool = False
    normalises_queries: bool = False  # queries and keys of each head have a learned size (QK-norm)
    dropout_rate: float = 0.0  # of what blocks add
    attention_dropout_rate: float = 0.0  # of the shares that positions take of one another
    remat: str = "full"  # what is computed again for the gradient to save memory
    compute_dtype: str = "float32"  # of matmuls

    def __post_init__(self):
        build.check_sizes(
            self, ("num_layers", "width", "num_heads", "mlp_width", "modulation_width")
        )
        attention.check_heads(self.width, self.num_heads)
        for name in ("dropout_rate", "attention_dropout_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise errors.UserError(f"{name} {getattr(self, name)} is outside [0, 1)")
        if self.rotary_base != 0 and self.rotary_base < 1:
            raise errors.UserError(
                f"rotary_base is {self.rotary_base}; expected 1 or more, or 0 for no rotary angles"
            )
        build.check_known(self, {"activation": ACTIVATIONS, "norm": modulation.NORMS, **COMPUTE})


class Context(NamedTuple):
    """What all positions may attend to beside one another, in no order of its own."""

    values: Float[Array, "b m e"]
    is_valid: Bool[Array, "b m"]  # False in padding


class Block(nnx.Module):
    """Attention and feed-forward layer, each normalised, modulated and gated.

    Between them, where there is a context, what attention to it finds is added.
    """

    def __init__(self, spec: Spec, rngs: nnx.Rngs, context_dim: int | None = None):
        self.spec = spec
        dtype = jnp.dtype(spec.compute_dtype)
        self.attention = attention.Attention(
            spec.width,
            spec.num_heads,
            dtype,
            rngs,
            spec.attention_dropout_rate,
            spec.normalises_queries,
        )

        def widen():
            return linear.dense(
                spec.width, spec.mlp_width, ("embed", "mlp"), dtype, rngs, use_bias=False
            )

        self.up = widen()
        if spec.has_gated_mlp:
            self.gate = widen()
        self.down = linear.dense(
            spec.mlp_width, spec.width, ("mlp", "embed"), dtype, rngs, use_bias=False
        )
        self.offset = linear.table((6, spec.width), (None, "embed"), linear.zeros, rngs)
        if context_dim is not None:
            self.cross = attention.CrossAttention(
                spec.width, context_dim, spec.num_heads, dtype, rngs, spec.attention_dropout_rate
            )

    def __call__(
        self,
        values: Float[Array, "b l d"],
        vectors: Sequence[Float[Array, "b l d"]],
        angles: Float[Array, "l half"] | None,
        keys: Key[Array, "b"] | None,
        is_valid: Bool[Array, "b l"] | None = None,
        context: Context | None = None,
    ) -> Float[Array, "b l d"]:
        rate = self.spec.dropout_rate
        first, second = (None, None) if keys is None else split_rows(keys, 2)
        inside = _named(keys, "attention")
        offset = self.offset[...].astype(vectors[0].dtype)
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (
            vector + own[None, None] for vector, own in zip(vectors, offset, strict=True)
        )
        norm = modulation.NORMS[self.spec.norm]
        normed = modulation.modulate(values, shift_a, scale_a, norm)
        mixed = self.attention(normed, angles, inside, is_valid)
        values = values + gate_a * dropout.of_rows(first, mixed, rate)
        if context is not None:
            normed = norm(values)
            found = self.cross(normed, *context, _named(keys, "context_attention"))
            values = values + dropout.of_rows(_named(keys, "context"), found, rate)
        normed = modulation.modulate(values, shift_f, scale_f, norm)
        hidden = self.up(normed)
        if self.spec.has_gated_mlp:
            hidden = hidden * ACTIVATIONS[self.spec.activation](self.gate(normed))
        else:
            hidden = ACTIVATIONS[self.spec.activation](hidden)
        return values + gate_f * dropout.of_rows(second, self.down(hidden), rate)


class Transformer(nnx.Module):
    """Tokens and a condition per position -> final hidden states (ResGen section 5)."""

    def __init__(
        self,
        spec: Spec,
        grid: tuple[int, int],
        condition_dim: int,
        rngs: nnx.Rngs,
        context_dim: int | None = None,
    ):
        self.spec, self.grid, self.context_dim = spec, grid, context_dim
        dtype = jnp.dtype(spec.compute_dtype)
        # Six vectors for every layer, two for the last normalisation.
        self.modulation = modulation.SharedModulation(
            condition_dim, spec.modulation_width, 8, spec.width, dtype, rngs
        )
        # Rotary angles alone would leave positions alike where all is masked.
        self.positions = linear.table(
            (math.prod(grid), spec.width), (None, "embed"), linear.normal(0.02), rngs
        )
        make_block = nnx.vmap(
            lambda layer_rngs: Block(spec, layer_rngs, context_dim),
            in_axes=0,
            out_axes=0,
            transform_metadata={nnx.PARTITION_NAME: "layers"},
        )
        self.blocks = make_block(rngs.split(spec.num_layers))

    def __call__(
        self,
        tokens: Float[Array, "b l d"],
        condition: Float[Array, "b l e"],
        keys: Key[Array, "b"] | None = None,
        is_valid: Bool[Array, "b l"] | None = None,
        context: Context | None = None,
    ) -> Float[Array, "b l d"]:
        """`keys`, one for each row, turn dropout on; hidden states come out in float32.

        Tokens of one row of a grid may be fewer than it has. What they are and are told where not
        `is_valid`, NaN even, reaches no other; without `is_valid` all are. Raises UserError for a
        context where it was made for none, or none where it was made for one.
        """
        self._check(tokens.shape[1], context)
        spec, dtype, angles = self.spec, jnp.dtype(self.spec.compute_dtype), None
        tokens = attention.without_padding(tokens, is_valid)
        condition = attention.without_padding(condition, is_valid)
        length = tokens.shape[1]
        values = tokens.astype(dtype) + self.positions[...].astype(dtype)[None, :length, :]
        if spec.rotary_base:
            head_width = spec.width // spec.num_heads
            grid = (self.grid[0], length // self.grid[0])
            angles = positions.rotary_angles(grid, head_width, spec.rotary_base)
        if context is not None:
            told = attention.without_padding(context.values, context.is_valid).astype(dtype)
            context = Context(told, context.is_valid)
        *vectors, shift, scale = self.modulation(condition.astype(dtype))
        graph, weights = nnx.split(self.blocks)
        layer_keys = None if keys is None else split_rows(keys, self.spec.num_layers)
        layer_vectors = [vector.astype(dtype) for vector in vectors]

        def layer(values, weights_and_keys):
            weights, row_keys = weights_and_keys
            block = nnx.merge(graph, weights)
            return block(values, layer_vectors, angles, row_keys, is_valid, context), None

        values, _ = jax.lax.scan(REMAT[self.spec.remat](layer), values, (weights, layer_keys))
        # In float32: rounded here, all that a head decides would be rounded.
        norm = modulation.NORMS[spec.norm]
        return modulation.modulate(values.astype(jnp.float32), shift, scale, norm)

    def _check(self, length: int, context: Context | None) -> None:
        most = math.prod(self.grid)
        if length > most or (length < most and self.grid[0] > 1):
            raise errors.UserError(
                f"there are {length} tokens for a grid of {self.grid}; expected {most}"
            )
        if (context is None) != (self.context_dim is None):
            found = "no context" if context is None else "a context"
            raise errors.UserError(
                f"the transformer was made with context_dim {self.context_dim} and called with "
                f"{found}; give it a context where it was made for one alone"
            )


def split_rows(keys: Key[Array, "b"], num: int) -> Key[Array, "num b"]:
    """`num` keys for each row out of its own."""
    return jax.vmap(lambda key: jax.random.split(key, num), out_axes=1)(keys)


def _named(keys: Key[Array, "b"] | None, name: str) -> Key[Array, "b"] | None:
    """Each row's key of a name."""
    if keys is None:
        return None
    return jax.vmap(lambda key: random_keys.named_keys(key, name)[name])(keys)
