"""What a learner of codebooks is: its codes, its functions of a state, and its sizes."""

import dataclasses
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.core import build, errors
from resgen_jax.quantizers import beam, chunks, rvq

State = Any


# Annotated but not checked at construction: a tree also holds shardings and shapes.
@typing.no_type_check
class Quantized(struct.PyTreeNode):
    """Codes and the sum of their vectors; `quantized` carries no gradient."""

    codes: Int[Array, "*n q"]
    quantized: Float[Array, "*n c"]


class Learner(NamedTuple):
    """Codebooks that learn: a state and the pure, jittable functions around it.

    `init(key)` gives random codebooks; `start(state, latents, key, is_valid=None)` fits them to a
    batch, by k-means where it can; `quantize(state, latents)` takes latents "*n c";
    `update(state, latents, quantized, key, is_valid=None)` gives the state of the next step, where
    `quantized` came from the same state. All functions of states keep the tree, shapes and dtypes,
    so they may stand in `lax.cond`. `axes` has the state's tree, with a tuple of logical axis names
    per leaf.
    """

    init: Callable[[PRNGKeyArray], State]
    start: Callable[..., State]
    quantize: Callable[[State, Float[Array, "*n c"]], Quantized]
    update: Callable[..., State]
    codebooks: Callable[[State], Float[Array, "q v c"]]
    axes: State


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of the codebooks and the pace of their learning; see `interface.LEARNERS`."""

    code_dim: int  # channels of a vector
    depth: int  # levels: codes of each position, coarse to fine
    codebook_size: int  # entries of each level's codebook
    decay: float = 0.99  # share that moving averages of counts and sums keep at each step
    smoothing: float = 1e-5  # vectors added to every count
    # Share of a level's mean count below which a code begins anew; 0 = never. (In RQ-VAE's own code
    # a code begins anew whose decayed count falls under 1, whatever the mean.)
    restart_threshold: float = 0.05
    num_start_iterations: int = 10  # of the k-means that starts the codebooks
    # Between vectors and codes, that a device holds at a time.
    max_distances: int = chunks.MAX_DISTANCES
    learning_rate: float = 1e-3  # Adam's, of the learners that descend a gradient
    # Prefixes kept in the search for codes; 1 = the nearest vector of each level.
    num_beams: int = 1

    def __post_init__(self):
        _require(self.max_distances >= 1, "max_distances", self, "1 or more")
        most = build.LARGEST_SIZE
        for name in ("code_dim", "depth", "num_beams"):
            _require(1 <= getattr(self, name) <= most, name, self, f"1 to {most}")
        _require(2 <= self.codebook_size <= 2**16, "codebook_size", self, "2 to 65536")
        _require(0.0 <= self.decay < 1.0, "decay", self, "0 <= decay < 1")
        _require(self.smoothing >= 0.0, "smoothing", self, "0 or more")
        _require(
            0.0 <= self.restart_threshold < 1.0, "restart_threshold", self, "a share in [0, 1)"
        )
        _require(self.num_start_iterations >= 0, "num_start_iterations", self, "0 or more")
        _require(0.0 < self.learning_rate < float("inf"), "learning_rate", self, "more than 0")


def quantizer(
    spec: Spec, codebooks: Callable[[State], Float[Array, "q v c"]]
) -> Callable[[State, Float[Array, "*n c"]], Quantized]:
    """The `quantize` of a learner: plain RVQ with the codebooks of its state."""

    def quantize(state, latents):
        tables = jax.lax.stop_gradient(codebooks(state))
        codes, _ = beam.encode(latents, tables, spec.num_beams, max_distances=spec.max_distances)
        return Quantized(codes=codes, quantized=rvq.decode(codes, tables))

    return quantize


def start_options(spec: Spec) -> dict[str, int]:
    """What k-means takes from a spec."""
    return {"num_iterations": spec.num_start_iterations, "max_distances": spec.max_distances}


def _require(is_met: bool, name: str, spec: Spec, expected: str) -> None:
    if not is_met:
        raise errors.UserError(f"quantizer {name} is {getattr(spec, name)}; expected {expected}")
