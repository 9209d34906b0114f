"""ResGen: a bidirectional transformer that predicts the sum of the masked code vectors."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from resgen_jax.core import build, errors, spaces
from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.generators import conditioning, flow_head, level_head, mixture_head
from resgen_jax.generators.choices import HEADS
from resgen_jax.nn import flops, functional, linear, transformer


@dataclasses.dataclass(frozen=True)
class Spec:
    """Choices of the network; the sizes of the codes come from the data."""

    trunk: transformer.Spec = dataclasses.field(default_factory=transformer.Spec)  # the transformer
    head: str = "mixture"  # what predicts the hidden codes of a position
    num_components: int = 64  # Gaussians of a position's mixture
    rank: int = 8  # of the part of their means that a position chooses
    min_log_scale: float = -4.0  # least logarithm of the mixture's deviation
    mask_dim: int = 16  # channels of a level's embedding: hidden or not
    has_code_head: bool = True  # for the auxiliary code loss; sampling may use it, too
    # It is trained to give guided predictions in one call (guidance-free training).
    is_told_guidance: bool = False
    # Of the heads "levels" and "flow".
    levels: level_head.Spec = dataclasses.field(default_factory=level_head.Spec)
    flow: flow_head.Spec = dataclasses.field(default_factory=flow_head.Spec)

    def __post_init__(self):
        build.check_sizes(self, ("num_components", "rank", "mask_dim"))
        if self.head not in HEADS:
            raise errors.UserError(
                f"model.head is {self.head!r}; {build.nearest(self.head, HEADS)}"
            )
        if self.head == "codes" and not self.has_code_head:
            raise errors.UserError(
                "model.head is 'codes' but model.has_code_head is False; set it to True, or choose "
                "another head"
            )


class ResGen(nnx.Module):
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
        if spec.head == "mixture":
            self.head = mixture_head.MixtureHead(
                width,
                spec.num_components,
                spec.rank,
                item.code_dim,
                spec.min_log_scale,
                dtype,
                rngs,
            )
        elif spec.head == "levels":
            self.levels = level_head.LevelHead(spec.levels, width, item, dtype, rngs)
        elif spec.head == "flow":
            self.flow = flow_head.FlowHead(spec.flow, width, item.code_dim, dtype, rngs)
        if spec.is_told_guidance:
            self.share = conditioning.ShareEmbedding(width, dtype, rngs)
        if spec.has_code_head:
            self.codes = mixture_head.CodeHead(width, item.depth, item.codebook_size, dtype, rngs)

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

    def mixture(self, hidden: Float[Array, "b l d"]) -> tuple[mixture.Params, mixture.Basis]:
        """The density of the masked embedding at every position."""
        return self.head(hidden), self.head.basis()

    def code_logits(self, hidden: Float[Array, "b l d"]) -> Float[Array, "b l q v"]:
        """Logits for the code of every level, each by itself."""
        return self.codes(hidden)

    def walk(self, *arguments: Any) -> tuple[Int[Array, "b l q"], Any]:
        """Codes of all levels one after the other; see `level_head.LevelHead.walk`."""
        return self.levels.walk(*arguments)

    def level_nll(self, *arguments: Any) -> Float[Array, "b l q"]:
        """Nats of the codes, each given the coarser ones; see `level_head.LevelHead.nll`."""
        return self.levels.nll(*arguments)

    def integrate(self, *arguments: Any) -> Float[Array, "b l c"]:
        """Vectors out of noise; see `flow_head.FlowHead.integrate`."""
        return self.flow.integrate(*arguments)

    def velocity(self, *arguments: Any) -> Float[Array, "b l c"]:
        """Of a vector at a time; see `flow_head.FlowHead`."""
        return self.flow(*arguments)


# The part of the parameters that belongs to each head.
PARTS = {"mixture": "head", "codes": "codes", "levels": "levels", "flow": "flow"}


def heads_of(network: functional.Network) -> frozenset[str]:
    """The heads that a network has, trained or not."""
    return frozenset(head for head, part in PARTS.items() if part in network.axes)


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
        if with_code_head:
            network.apply(params, hidden, method="code_logits")
        if spec.head == "levels":
            return network.apply(params, hidden, codes, codebooks, method="level_nll")
        if spec.head == "flow":
            return network.apply(params, hidden, target, target[..., 0], method="velocity")
        if spec.head == "mixture":
            return mixture.log_prob(*network.apply(params, hidden, method="mixture"), target)
        return hidden

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
