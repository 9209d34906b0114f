"""AdamW, or Muon for the matrices of the layers, with schedule and clipping."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int
from optax import contrib

from resgen_jax.core import build, errors
from resgen_jax.training import average, clipping
from resgen_jax.training.state import Metrics, PyTree, TrainState

Schedule = Callable[[Int[Array, ""]], Float[Array, ""]]
DECAYS = ("constant", "cosine", "linear")
MATRICES = ("adamw", "muon")
# Muon's steps in the size of Adam's, so that one learning rate serves both (arXiv 2502.16982).
MUON_RMS = 0.2
BOUNDS = {
    "learning_rate": (0.0, float("inf")),
    "warmup_steps": (0, float("inf")),
    "final_ratio": (0.0, 1.0),
    "eps": (0.0, float("inf")),
    "weight_decay": (0.0, float("inf")),
    "clip_norm": (0.0, float("inf")),
    "num_microbatches": (1, float("inf")),
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """AdamW after a linear warm-up, decaying to `final_ratio` of the learning rate.

    Warm-up and decay begin anew after each step of `rewarm_at`, e.g. where a run had ended before.
    """

    learning_rate: float = 1e-3  # at its highest, after the warm-up
    warmup_steps: int = 0  # in which it rises from 0
    decay: str = "cosine"  # how it falls from then to the last step
    final_ratio: float = 0.0  # what is left of it at the last step
    b1: float = 0.9  # Adam's decay of the mean gradient
    b2: float = 0.999  # Adam's decay of the mean square
    eps: float = 1e-8  # Adam's addend to the root of that
    weight_decay: float = 0.0  # AdamW's, of leaves named "kernel" only
    clip_norm: float = 0.0  # largest norm of the whole gradient; 0 = any
    num_microbatches: int = 1  # parts of a batch that go through the network one after the other
    # What moves the kernels of the stacked layers; all else is AdamW's.
    matrices: str = "adamw"
    rewarm_at: tuple[int, ...] = ()  # steps after which warm-up and decay begin anew

    def __post_init__(self):
        if self.decay not in DECAYS:
            hint = build.nearest(self.decay, DECAYS)
            raise errors.UserError(f"optimizer.decay is {self.decay!r}; {hint}")
        if self.matrices not in MATRICES:
            hint = build.nearest(self.matrices, MATRICES)
            raise errors.UserError(f"optimizer.matrices is {self.matrices!r}; {hint}")
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                expected = f"{low} or more" + (f", up to {high}" if high < float("inf") else "")
                raise errors.UserError(f"optimizer.{name} is {value}; expected {expected}")
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise errors.UserError(
                    f"optimizer.{name} is {getattr(self, name)}; expected 0 or more, below 1"
                )


def make(spec: Spec, num_steps: int) -> optax.GradientTransformation:
    """The optimizer of `spec` for a run of `num_steps`; raises UserError if it makes no sense."""
    rate = schedule(spec, num_steps)
    clip = [clipping.by_norm(spec.clip_norm)] if spec.clip_norm else []
    if spec.matrices == "muon":
        return optax.chain(*clip, _muon(spec, rate))
    decay = optax.add_decayed_weights(spec.weight_decay, mask=is_decayed)
    return optax.chain(
        *clip,
        optax.scale_by_adam(b1=spec.b1, b2=spec.b2, eps=spec.eps),
        *([decay] if spec.weight_decay else []),
        optax.scale_by_learning_rate(rate),
    )


def _muon(spec: Spec, rate: Schedule) -> optax.GradientTransformation:
    """Muon for the kernels of the layers, AdamW for the rest, at one learning rate.

    Weight decay acts on the layers' kernels alone: optax has no mask for Muon's other side.
    """
    return contrib.muon(
        rate,
        weight_decay=spec.weight_decay,
        eps=spec.eps,
        adam_b1=spec.b1,
        adam_b2=spec.b2,
        nesterov=False,
        consistent_rms=MUON_RMS,
        muon_weight_dimension_numbers=_layer_kernels,
    )


def _layer_kernels(params: PyTree) -> PyTree:
    """For each kernel "layers in out" of a stack which axes make its matrices; None elsewhere."""
    matrices = contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=2)

    def of(path, leaf):
        names = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        is_kernel = "blocks" in names and names[-1] == "kernel" and leaf.ndim == 3
        return matrices if is_kernel else None

    found = jax.tree_util.tree_map_with_path(of, params)
    if not jax.tree.leaves(found):  # None is no leaf
        raise errors.UserError(
            "optimizer.matrices is 'muon', but the network has no stacked layers whose kernels it "
            "could move; set it to 'adamw'"
        )
    return found


def is_decayed(params: PyTree) -> PyTree:
    """True for the leaves that weight decay shrinks: those named "kernel"."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jax.tree_util.keystr(path[-1:], simple=True) == "kernel", params
    )


def schedule(spec: Spec, num_steps: int) -> Schedule:
    """Learning rate of each step, counted from 0; the first step already moves."""
    _check_length(spec, num_steps)
    starts, ends = (0, *spec.rewarm_at), (*spec.rewarm_at, num_steps)

    def rate(step: Int[Array, ""]) -> Float[Array, ""]:
        time = jnp.asarray(step).astype(jnp.float32)
        found = _cycle(spec, time, ends[0])
        for start, end in zip(starts[1:], ends[1:], strict=True):
            found = jnp.where(time < start, found, _cycle(spec, time - start, end - start))
        return found

    return rate


def _cycle(spec: Spec, time: Float[Array, ""], num_steps: int) -> Float[Array, ""]:
    """Warm-up and decay over `num_steps`."""
    warm = jnp.minimum(1.0, (time + 1) / max(spec.warmup_steps, 1))
    length = max(num_steps - spec.warmup_steps, 1)
    done = jnp.clip((time - spec.warmup_steps) / length, 0.0, 1.0)
    shape = {
        "constant": jnp.ones_like(done),
        "cosine": 0.5 * (1 + jnp.cos(jnp.pi * done)),
        "linear": 1 - done,
    }[spec.decay]
    return spec.learning_rate * warm * (spec.final_ratio + (1 - spec.final_ratio) * shape)


def _check_length(spec: Spec, num_steps: int) -> None:
    if spec.warmup_steps > num_steps:
        raise errors.UserError(
            f"optimizer.warmup_steps {spec.warmup_steps} is longer than the run of {num_steps} "
            f"steps: set optimizer.warmup_steps to {num_steps // 10} or raise train.num_steps"
        )
    cuts = (0, *spec.rewarm_at, num_steps)
    lengths = [end - start for start, end in itertools.pairwise(cuts)]
    if spec.rewarm_at and min(lengths) < max(spec.warmup_steps, 1):
        raise errors.UserError(
            f"optimizer.rewarm_at is {spec.rewarm_at}; expected growing steps before the run's end "
            f"at {num_steps}, with room for optimizer.warmup_steps {spec.warmup_steps} after each"
        )


def apply_gradients(
    state: TrainState,
    gradients: PyTree,
    optimizer: optax.GradientTransformation,
    *,
    rate: Schedule,
    average_decay: float,
    statistics: Any = None,
) -> tuple[TrainState, Metrics]:
    """The state one step on, its learning rate and what `clipping.metrics` tells.

    "grad_norm" is that of all gradients, before clipping. `statistics` replaces those of the state
    where given.
    """
    # optax raises floats to integer counts.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    averaged = average.update(state.average_params, params, average_decay, state.step)
    metrics = {"learning_rate": rate(state.step), "grad_norm": optax.tree.norm(gradients)}
    metrics |= clipping.metrics(opt_state)
    new_state = TrainState(
        step=state.step + 1,
        params=params,
        opt_state=opt_state,
        average_params=averaged,
        statistics=state.statistics if statistics is None else statistics,
    )
    return new_state, metrics


def initial_state(
    params: PyTree, optimizer: optax.GradientTransformation, statistics: PyTree | None = None
) -> TrainState:
    """The state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        average_params=params,
        statistics={} if statistics is None else statistics,
    )
