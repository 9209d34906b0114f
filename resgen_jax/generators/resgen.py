"""ResGen: a bidirectional transformer that predicts the sum of the masked code vectors."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from resgen_jax.core import build, spaces
from resgen_jax.generators import conditioning, heads
from resgen_jax.nn import flops, functional, linear, transformer


@dataclasses.dataclass(frozen=True)
class Spec(heads.Spec):
    """Choices of the network; the sizes of the codes come from the data."""

    trunk: transformer.Spec = dataclasses.field(default_factory=transformer.Spec)  # the transformer
    mask_dim: int = 16  # channels of a level's embedding: hidden or not
    # It is trained to give guided predictions in one call (guidance-free training).
    is_told_guidance: bool = False

    def __post_init__(self):
        super().__post_init__()
        build.check_sizes(self, ("mask_dim",))


class ResGen(heads.Heads):
    """The network; see ResGen sections 3.1, 3.2 and 5."""

    def __init__(self, spec: Spec, space: spaces.Space, rngs: nnx.Rngs):
        width, self.is_told_guidance = spec.trunk.width, spec.is_told_guidance
        dtype = jnp.dtype(spec.trunk.compute_dtype)
        item = space.codes
        self.tokens = linear.dense(item.code_dim, width, (None, "embed"), dtype, rngs)
        self.classes = conditioning.ClassEmbedding(space.num_classes, width, rngs)
        self.masks = conditioning.MaskEmbedding(item.depth, spec.mask_dim, rngs)
        # The condition: the mask vectors of all levels, and the class.
        condition_dim = spec.mask_dim * item.depth + width
        self.trunk = transformer.Transformer(spec.trunk, space.layout, condition_dim, rngs)
        if spec.is_told_guidance:
            self.share = conditioning.ShareEmbedding(width, dtype, rngs)
        self.add_heads(spec, width, item, dtype, rngs)

    def hidden(
        self,
        revealed_embedding: Float[Array, "b l c"],
        is_masked: Bool[Array, "b l q"],
        labels: Int[Array, "b"],
        keys: Key[Array, "b"] | None = None,
        is_valid: Bool[Array, "b l"] | None = None,
        share: Float[Array, "b"] | None = None,
    ) -> Float[Array, "b l d"]:
        """Final hidden states; label `num_classes` is no class, `keys` of rows turn dropout on.

        Where not `is_valid` there is padding, which no other position learns of. A network that
        `is_told_guidance` gives guided states: 1 / `share` is the scale, 1 without a share.
        """
        classes = self.classes(labels)
        if self.is_told_guidance:
            told = self.share(jnp.ones(labels.shape) if share is None else share)
            classes = classes + told.astype(classes.dtype)
        classes = classes[:, None, :]
        values = self.tokens(revealed_embedding)
        values = values + classes.astype(values.dtype)
        masks = self.masks(is_masked)
        classes = jnp.broadcast_to(classes, (*masks.shape[:2], classes.shape[-1]))
        condition = jnp.concatenate([masks, classes], axis=-1)
        return self.trunk(values, condition, keys, is_valid)


@functools.cache  # tracing a network is slow; it holds no state
def make(spec: Spec, space: spaces.Space) -> functional.Network:
    """`init` and `apply` of the network; methods `hidden` and those of its heads."""
    return functional.from_module(lambda rngs: ResGen(spec, space, rngs))


def forward_program(
    spec: Spec, space: spaces.Space, batch_size: int, *, with_code_head: bool
) -> tuple[Callable, tuple]:
    """A forward pass over a batch, heads and their losses' matmuls, and its abstract arguments."""
    network = make(spec, space)

    def forward(params, revealed_embedding, is_masked, labels, target, codes, codebooks):
        hidden = network.apply(params, revealed_embedding, is_masked, labels, method="hidden")
        told = hidden, target, codes, codebooks
        return heads.call(network, params, spec, told, with_code_head=with_code_head)

    cell = (batch_size, space.max_length)
    vectors = jax.ShapeDtypeStruct((*cell, space.codes.code_dim), jnp.float32)
    stacks = (*cell, space.codes.depth)
    return forward, (
        jax.eval_shape(network.init, jax.random.key(0)),
        vectors,
        jax.ShapeDtypeStruct(stacks, jnp.bool_),
        jax.ShapeDtypeStruct((batch_size,), jnp.int32),
        vectors,
        jax.ShapeDtypeStruct(stacks, jnp.int32),
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
