"""What heads a generator of stacks of codes may have, and how its network gets them."""

import dataclasses
from typing import Any

from flax import nnx
from jaxtyping import Array, Float, Int

from resgen_jax.core import build, errors, spaces
from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.generators import flow_head, level_head, mixture_head
from resgen_jax.generators.choices import HEADS
from resgen_jax.nn import functional


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """Which head a network has, and its sizes."""

    head: str = "mixture"  # what predicts the hidden codes of a position
    num_components: int = 64  # Gaussians of a position's mixture
    rank: int = 8  # of the part of their means that a position chooses
    min_log_scale: float = -4.0  # least logarithm of the mixture's deviation
    has_code_head: bool = True  # for the auxiliary code loss; sampling may use it, too
    # Of the heads "levels" and "flow".
    levels: level_head.Spec = dataclasses.field(default_factory=level_head.Spec)
    flow: flow_head.Spec = dataclasses.field(default_factory=flow_head.Spec)

    def __post_init__(self):
        build.check_sizes(self, ("num_components", "rank"))
        if self.head not in HEADS:
            raise errors.UserError(
                f"model.head is {self.head!r}; {build.nearest(self.head, HEADS)}"
            )
        if self.head == "codes" and not self.has_code_head:
            raise errors.UserError(
                "model.head is 'codes' but model.has_code_head is False; set it to True, or choose "
                "another head"
            )


class Heads(nnx.Module):
    """The part of a network that reads its final hidden states."""

    def add_heads(
        self, spec: Spec, width: int, item: spaces.Codes, dtype: Any, rngs: nnx.Rngs
    ) -> None:
        """The heads of a spec, for states of this width."""
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
        if spec.has_code_head:
            self.codes = mixture_head.CodeHead(width, item.depth, item.codebook_size, dtype, rngs)

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


def call(
    network: functional.Network,
    params: Any,
    spec: Spec,
    told: tuple[Array, Array, Array, Array],
    *,
    with_code_head: bool,
) -> Array:
    """The matmuls of a loss of the heads, to be counted.

    `told` are states "b l d", vectors "b l c", codes "b l q" and codebooks "q v c".
    """
    states, vectors, codes, codebooks = told
    if with_code_head:
        network.apply(params, states, method="code_logits")
    if spec.head == "levels":
        return network.apply(params, states, codes, codebooks, method="level_nll")
    if spec.head == "flow":
        return network.apply(params, states, vectors, vectors[..., 0], method="velocity")
    if spec.head == "mixture":
        density, basis = network.apply(params, states, method="mixture")
        return mixture.log_prob(density, basis, vectors)
    return states
