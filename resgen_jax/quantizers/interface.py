"""The door between a tokenizer and the way its codebooks learn: chosen by passing a function."""

import dataclasses
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.core import build, errors, keys
from resgen_jax.quantizers import chunks, cosine, kmeans, learning, probabilistic_rvq, rvq

State = Any


# Annotated but not checked at construction: a tree also holds shardings and shapes.
@typing.no_type_check
class Quantized(struct.PyTreeNode):
    """Codes and the sum of their vectors; `quantized` carries no gradient."""

    codes: Int[Array, "*n q"]
    quantized: Float[Array, "*n c"]


class Learner(NamedTuple):
    """Codebooks that learn: a state and the pure, jittable functions around it.

    `init(key)` gives random codebooks; `start(state, latents, key, is_valid=None)` replaces them by
    k-means on a batch; `quantize(state, latents)` takes latents "*n c"; `update(state, latents,
    quantized, key, is_valid=None)` gives the state of the next step, where `quantized` came from
    the same state. All functions of states keep the tree, shapes and dtypes, so they may stand in
    `lax.cond`. `axes` has the state's tree, with a tuple of logical axis names per leaf.
    """

    init: Callable[[PRNGKeyArray], State]
    start: Callable[..., State]
    quantize: Callable[[State, Float[Array, "*n c"]], Quantized]
    update: Callable[..., State]
    codebooks: Callable[[State], Float[Array, "q v c"]]
    axes: State


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of the codebooks and the pace of their learning.

    `restart_threshold` is a share of the mean count of a level, 0 = never; `smoothing` counts
    vectors; `max_distances` bounds the (n, v) distances held at a time, counted over all devices.
    """

    code_dim: int
    depth: int
    codebook_size: int
    decay: float = 0.99
    smoothing: float = 1e-5
    restart_threshold: float = 0.05
    num_start_iterations: int = 10
    max_distances: int = chunks.MAX_DISTANCES

    def __post_init__(self):
        for name in ("code_dim", "depth", "max_distances"):
            _require(getattr(self, name) >= 1, name, self, "1 or more")
        _require(2 <= self.codebook_size <= 2**16, "codebook_size", self, "2 to 65536")
        _require(0.0 <= self.decay < 1.0, "decay", self, "0 <= decay < 1")
        _require(self.smoothing >= 0.0, "smoothing", self, "0 or more")
        _require(
            0.0 <= self.restart_threshold < 1.0, "restart_threshold", self, "a share in [0, 1)"
        )
        _require(self.num_start_iterations >= 0, "num_start_iterations", self, "0 or more")


def ema_rvq(spec: Spec) -> Learner:
    """RVQ with a codebook per level, learnt by moving averages with restart of dead codes."""
    return _ema(spec, spec.depth, kmeans.start, lambda stats: stats, lambda key, rows: rows)


def shared_ema_rvq(spec: Spec) -> Learner:
    """As `ema_rvq`, with one codebook for all levels, learnt from the residuals of all."""
    return _ema(spec, 1, kmeans.start_shared, learning.pool, learning.pool_candidates)


def _ema(spec, num_tables, start_stats, gather, gather_candidates) -> Learner:
    """The two differ in how statistics and restart candidates of the levels come together."""

    def codebooks(state):
        tables = learning.codebooks_from(state, spec.smoothing)
        return jnp.broadcast_to(tables, (spec.depth, *tables.shape[1:]))

    def init(key):
        tables = learning.random_codebooks(key, num_tables, spec.codebook_size, spec.code_dim)
        return learning.stats_of(tables)

    def start(state, latents, key, is_valid=None):
        del state  # a fresh start: nothing of the random codebooks remains
        return start_stats(
            key, latents, spec.depth, spec.codebook_size, is_valid, **_start_options(spec)
        )

    def update(state, latents, quantized, key, is_valid=None):
        tables, codes = codebooks(state), quantized.codes
        batch = learning.statistics(
            latents, codes, tables, is_valid, max_distances=spec.max_distances
        )
        state = learning.update(state, gather(batch), decay=spec.decay)
        if spec.restart_threshold == 0.0:
            return state
        named = keys.named_keys(key, "rows", "levels")
        rows = learning.entering_rows(named["rows"], latents, codes, tables, is_valid)
        candidates = gather_candidates(named["levels"], rows)
        return learning.restart(state, candidates, threshold=spec.restart_threshold)

    axes = learning.CodebookStats(counts=(None, None), sums=(None, None, None))
    return Learner(init, start, _quantize(spec, codebooks), update, codebooks, axes)


def cosine_rvq(spec: Spec) -> Learner:
    """RVQ that chooses by cosine similarity: each level's codes have one, learnt, length.

    Their directions are moving averages of unit vectors, put back on the sphere; `smoothing` has no
    part in it. With depth 1 and unit latents, the codebook of ViT-VQGAN (section 3.2).
    """

    def init(key):
        return cosine.random_state(key, spec.depth, spec.codebook_size, spec.code_dim)

    def start(state, latents, key, is_valid=None):
        del state  # a fresh start: nothing of the random codebooks remains
        return cosine.start(
            key, latents, spec.depth, spec.codebook_size, is_valid, **_start_options(spec)
        )

    def update(state, latents, quantized, key, is_valid=None):
        tables, codes = cosine.codebooks_from(state), quantized.codes
        state = cosine.update(
            state, latents, codes, is_valid, decay=spec.decay, max_distances=spec.max_distances
        )
        if spec.restart_threshold == 0.0:
            return state
        rows = learning.entering_rows(key, latents, codes, tables, is_valid)
        return cosine.restart(state, rows, threshold=spec.restart_threshold)

    axes = cosine.CosineState(counts=(None, None), sums=(None, None, None), lengths=(None,))
    quantize = _quantize(spec, cosine.codebooks_from)
    return Learner(init, start, quantize, update, cosine.codebooks_from, axes)


def probabilistic(spec: Spec) -> Learner:
    """Probabilistic RVQ by moving averages (CLaM-TTS section 3); the author's decay is 0.999.

    No code can die, so `restart_threshold` and `smoothing` have no part in it.
    """

    def codebooks(state):
        return state.codebooks

    def init(key):
        tables = learning.random_codebooks(key, spec.depth, spec.codebook_size, spec.code_dim)
        return probabilistic_rvq.ProbabilisticState(
            codebooks=tables, variances=jnp.ones(spec.depth)
        )

    def start(state, latents, key, is_valid=None):
        del state  # a fresh start: nothing of the random codebooks remains
        stats = kmeans.start(
            key, latents, spec.depth, spec.codebook_size, is_valid, **_start_options(spec)
        )
        tables = learning.codebooks_from(stats, smoothing=0.0)
        codes, _ = rvq.encode(latents, tables, max_distances=spec.max_distances)
        variances = probabilistic_rvq.variances_left(latents, codes, tables, is_valid)
        return probabilistic_rvq.ProbabilisticState(codebooks=tables, variances=variances)

    def update(state, latents, quantized, key, is_valid=None):
        del key  # nothing random in it
        return probabilistic_rvq.update(
            state,
            latents,
            quantized.codes,
            is_valid,
            decay=spec.decay,
            max_distances=spec.max_distances,
        )

    axes = probabilistic_rvq.ProbabilisticState(codebooks=(None, None, None), variances=(None,))
    return Learner(init, start, _quantize(spec, codebooks), update, codebooks, axes)


def _quantize(spec: Spec, codebooks):
    def quantize(state, latents):
        tables = jax.lax.stop_gradient(codebooks(state))
        codes, _ = rvq.encode(latents, tables, max_distances=spec.max_distances)
        return Quantized(codes=codes, quantized=rvq.decode(codes, tables))

    return quantize


def _start_options(spec: Spec) -> dict[str, int]:
    return {"num_iterations": spec.num_start_iterations, "max_distances": spec.max_distances}


def _require(is_met: bool, name: str, spec: Spec, expected: str) -> None:
    if not is_met:
        raise errors.UserError(f"quantizer {name} is {getattr(spec, name)}; expected {expected}")


LEARNERS: dict[str, Callable[[Spec], Learner]] = {
    "ema": ema_rvq,
    "shared_ema": shared_ema_rvq,
    "cosine": cosine_rvq,
    "probabilistic": probabilistic,
}


def make(name: str, spec: Spec) -> Learner:
    """The learner of that name; raises UserError naming the nearest for an unknown one."""
    if name not in LEARNERS:
        raise errors.UserError(f"no quantizer {name!r}; {build.nearest(name, LEARNERS)}")
    return LEARNERS[name](spec)
