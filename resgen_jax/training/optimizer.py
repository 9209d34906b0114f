"""AdamW with its schedule, clipping and gradient accumulation."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.core import build, errors
from resgen_jax.training import average
from resgen_jax.training.state import Batch, Metrics, PyTree, TrainState

Schedule = Callable[[Int[Array, ""]], Float[Array, ""]]
DECAYS = ("constant", "cosine", "linear")


@dataclasses.dataclass(frozen=True)
class Spec:
    """AdamW after a linear warm-up, decaying to `final_ratio` of the learning rate."""

    learning_rate: float = 1e-3
    warmup_steps: int = 0
    decay: str = "cosine"
    final_ratio: float = 0.0
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0  # on leaves named "kernel" only
    clip_norm: float = 0.0  # of the whole gradient; 0 = off
    num_microbatches: int = 1


def make(spec: Spec, num_steps: int) -> optax.GradientTransformation:
    """The optimizer of `spec` for a run of `num_steps`; raises UserError if it makes no sense."""
    rate = schedule(spec, num_steps)
    clip = [optax.clip_by_global_norm(spec.clip_norm)] if spec.clip_norm else []
    decay = optax.add_decayed_weights(spec.weight_decay, mask=is_decayed)
    return optax.chain(
        *clip,
        optax.scale_by_adam(b1=spec.b1, b2=spec.b2, eps=spec.eps),
        *([decay] if spec.weight_decay else []),
        optax.scale_by_learning_rate(rate),
    )


def is_decayed(params: PyTree) -> PyTree:
    """True for the leaves that weight decay shrinks: those named "kernel"."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jax.tree_util.keystr(path[-1:], simple=True) == "kernel", params
    )


def schedule(spec: Spec, num_steps: int) -> Schedule:
    """Learning rate of each step, counted from 0; the first step already moves."""
    _check(spec, num_steps)

    def rate(step: Int[Array, ""]) -> Float[Array, ""]:
        time = jnp.asarray(step).astype(jnp.float32)
        warm = jnp.minimum(1.0, (time + 1) / max(spec.warmup_steps, 1))
        length = max(num_steps - spec.warmup_steps, 1)
        done = jnp.clip((time - spec.warmup_steps) / length, 0.0, 1.0)
        shape = {
            "constant": jnp.ones_like(done),
            "cosine": 0.5 * (1 + jnp.cos(jnp.pi * done)),
            "linear": 1 - done,
        }[spec.decay]
        return spec.learning_rate * warm * (spec.final_ratio + (1 - spec.final_ratio) * shape)

    return rate


def _check(spec: Spec, num_steps: int) -> None:
    if spec.decay not in DECAYS:
        hint = build.nearest(spec.decay, DECAYS)
        raise errors.UserError(f"optimizer.decay is {spec.decay!r}; {hint}")
    if spec.warmup_steps > num_steps:
        raise errors.UserError(
            f"optimizer.warmup_steps {spec.warmup_steps} is longer than the run of {num_steps} "
            f"steps: set optimizer.warmup_steps to {num_steps // 10} or raise train.num_steps"
        )
    bounds = {
        "learning_rate": (0.0, float("inf")),
        "warmup_steps": (0, num_steps),
        "final_ratio": (0.0, 1.0),
        "weight_decay": (0.0, float("inf")),
        "clip_norm": (0.0, float("inf")),
        "num_microbatches": (1, float("inf")),
    }
    for name, (low, high) in bounds.items():
        value = getattr(spec, name)
        if not low <= value <= high:
            raise errors.UserError(
                f"optimizer.{name} is {value}; expected {low} or more"
                + (f", up to {high}" if high != float("inf") else "")
            )


# A loss with metrics (floats, each a mean over rows) and rows (arrays with an example a row).
LossFn = Callable[[PyTree, Batch, PRNGKeyArray], tuple[Float[Array, ""], tuple[PyTree, PyTree]]]


def value_and_grad(
    loss_fn: LossFn,
    params: PyTree,
    batch: Batch,
    key: PRNGKeyArray,
    num_microbatches: int = 1,
) -> tuple[tuple[Float[Array, ""], tuple[PyTree, PyTree]], PyTree]:
    """`((loss, (metrics, rows)), gradients)` from microbatches taken one after the other.

    Loss, metrics and gradients are means over the microbatches; rows come back for the whole batch
    in its own order. The mean equals the whole batch's value where the loss is a mean over rows and
    rows draw their own keys. A loss that divides by a count of the batch (of masked tokens, say)
    becomes a mean of ratios instead of one ratio.
    """
    compute = jax.value_and_grad(loss_fn, has_aux=True)
    if num_microbatches == 1:
        return compute(params, batch, key)

    def split(rows: Array) -> Array:
        # Microbatch i takes the rows i, i + n, ...: so each device works on rows it already holds.
        shape = (rows.shape[0] // num_microbatches, num_microbatches, *rows.shape[1:])
        return jnp.swapaxes(rows.reshape(shape), 0, 1)

    def join(rows: Array) -> Array:
        return jnp.swapaxes(rows, 0, 1).reshape(-1, *rows.shape[2:])

    def one(microbatch: Batch, index: Array) -> tuple[PyTree, PyTree]:
        (loss, (metrics, rows)), gradients = compute(
            params, microbatch, jax.random.fold_in(key, index)
        )
        return (loss, metrics, gradients), rows

    def add(total: PyTree, inputs: tuple[Batch, Array]) -> tuple[PyTree, PyTree]:
        part, rows = one(*inputs)
        return jax.tree.map(jnp.add, total, part), rows

    microbatches = jax.tree.map(split, batch), jnp.arange(num_microbatches)
    shapes, _ = jax.eval_shape(one, *jax.tree.map(lambda rows: rows[0], microbatches))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, rows = jax.lax.scan(add, zeros, microbatches)
    loss, metrics, gradients = jax.tree.map(lambda leaf: leaf / num_microbatches, total)
    return (loss, (metrics, jax.tree.map(join, rows))), gradients


def apply_gradients(
    state: TrainState,
    gradients: PyTree,
    optimizer: optax.GradientTransformation,
    *,
    rate: Schedule,
    average_decay: float,
    statistics: Any = None,
) -> tuple[TrainState, Metrics]:
    """The state one step on, and the metrics "learning_rate" and "grad_norm" (before clipping).

    `statistics` replaces those of the state where given.
    """
    # optax raises floats to integer counts.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    averaged = average.update(state.average_params, params, average_decay, state.step)
    metrics = {"learning_rate": rate(state.step), "grad_norm": optax.tree.norm(gradients)}
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
