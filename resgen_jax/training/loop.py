"""The training loop: any task, any mesh; it resumes, measures, saves and stops cleanly."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from resgen_jax.core import errors, keys
from resgen_jax.training import (
    checkpoint,
    finite,
    flops,
    held_out,
    interruption,
    programs,
    reporting,
    writer,
)
from resgen_jax.training import mesh as meshes
from resgen_jax.training.finite import LossNotFinite
from resgen_jax.training.reporting import Progress
from resgen_jax.training.state import Batch, Metrics, Task, TrainState

__all__ = ["LossNotFinite", "Progress", "Spec", "Stopped", "run"]

Evaluator = Callable[[TrainState, int], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Spec:
    """How long to train, and how often to log, measure and save; 0 means only at the end."""

    num_steps: int
    log_every: int = 50
    evaluate_every: int = 0
    checkpoint_every: int = 0
    keep_last: int = 2
    keep_every: int = 0  # checkpoints at multiples of this stay for good; 0 = none do
    num_held_out_batches: int = 0  # 0 = all


class Stopped(Exception):
    """The run was interrupted after `step`, which is saved; the same command goes on."""

    def __init__(self, step: int):
        saved = f"after step {step}, and saved" if step else "before step 1: nothing to save"
        super().__init__(f"stopped {saved}")
        self.step = step


def run(
    task: Task,
    spec: Spec,
    *,
    mesh: Mesh,
    iterator: Any,
    held_out: Callable[[], Iterable[Batch]] | None = None,
    workdir: str | os.PathLike,
    seed: int,
    progress: Callable[[Progress], None] = lambda event: None,
    evaluators: Sequence[Evaluator] = (),
) -> TrainState:
    """Train `task` to `spec.num_steps`, from the newest good checkpoint of `workdir` if any.

    `iterator` gives this process's rows of each batch and has `get_state` and `set_state`;
    `held_out` gives fresh held-out batches with "is_valid". After a resume the metrics are, bit for
    bit, those of a run that never stopped. Raises LossNotFinite, Stopped, or UserError.
    """
    _check(spec)

    def warn(message: str) -> None:
        progress(Progress(0, spec.num_steps, {}, message=message))

    with (
        interruption.Interruption() as stop,
        jax.set_mesh(mesh),
        checkpoint.Checkpoints(
            workdir,
            keep_last=spec.keep_last,
            keep_every=spec.keep_every,
            facts={"task": task.name, "seed": seed},
        ) as checkpoints,
    ):
        state = checkpoints.restore(meshes.abstract_state(mesh, task), iterator, warn)
        if state is None:
            state = programs.initial_state(task, mesh, seed)
        is_writer = jax.process_index() == 0
        with (
            writer.Writer(
                workdir,
                restored_step=int(state.step),
                is_on=is_writer,
                is_measured=checkpoints.is_measured,
            ) as out,
        ):
            training = _Training(task, spec, mesh, seed, iterator, checkpoints)
            training.reporter = reporting.Reporter(
                out,
                progress,
                num_steps=spec.num_steps,
                log_every=spec.log_every,
                rates=training.rates,
            )
            return training.run(state, stop, held_out, evaluators)


class _Pending(NamedTuple):
    """A step that was dispatched and whose metrics were not read yet."""

    step: int
    metrics: Metrics
    index: Any  # record numbers of the batch's rows


class _Training:
    """What lives as long as one call of `run`."""

    reporter: reporting.Reporter

    def __init__(self, task, spec, mesh, seed, iterator, checkpoints):
        self.task, self.spec, self.mesh = task, spec, mesh
        self.iterator, self.checkpoints = iterator, checkpoints
        root = jax.random.key(seed)
        self.key = jax.device_put(root, meshes.replicated(mesh))
        self.held_out_key = keys.named_keys(root, "held_out")["held_out"]
        self.program, self.batch_size = None, 0
        self.pending: _Pending | None = None

    def run(self, state: TrainState, stop, held_out_batches, evaluators) -> TrainState:
        """Steps until the end, or until asked to stop."""
        evaluate = jax.jit(self.task.evaluate, out_shardings=meshes.replicated(self.mesh))
        before = int(state.step)
        is_cut = not self.checkpoints.is_measured and not self._evaluate(
            evaluate, state, before, held_out_batches, evaluators, stop
        )
        if is_cut or (before < self.spec.num_steps and stop.is_requested()):
            raise Stopped(before)
        for step in range(before + 1, self.spec.num_steps + 1):
            rows = next(self.iterator)
            batch = meshes.put_batch(self.mesh, rows)
            if self.program is None:
                self.batch_size = next(iter(batch.values())).shape[0]
                self.program, seconds = programs.compile_step(
                    self.task, self.mesh, state, batch, self.key
                )
                self.reporter.compiled(step, seconds)
            state, metrics = self.program(state, batch, self.key)
            self._settle()  # the step before, while this one runs
            self.pending = _Pending(step, metrics, rows.get("index"))
            is_last = step == self.spec.num_steps
            must_stop, is_measured = stop.is_requested() and not is_last, True
            if is_last or _is_due(self.spec.evaluate_every, step):
                # What a notice leaves no time to measure is owed by the next start.
                is_measured = self._evaluate(
                    evaluate, state, step, held_out_batches, evaluators, stop
                )
                must_stop |= not is_measured
            if is_last or must_stop or _is_due(self.spec.checkpoint_every, step):
                self._save(state, step, is_measured)
            if must_stop:
                self.checkpoints.wait()
                raise Stopped(step)
        return state

    def rates(self, step_seconds: float) -> dict[str, float]:
        """Throughput of the whole mesh at this pace."""
        examples = self.batch_size / max(step_seconds, 1e-9)
        kind = self.mesh.devices.flat[0].device_kind
        arithmetic = flops.rates(self.task.flops_per_example(), examples, self.mesh.size, kind)
        return {"examples_per_second": examples, **arithmetic}

    def _settle(self) -> None:
        """Read the metrics of the pending step, check them and report them."""
        pending, self.pending = self.pending, None
        if pending is None:
            return
        is_logged = self.reporter.is_logged(pending.step)
        names = [name for name in pending.metrics if is_logged or name in finite.CHECKED]
        values = jax.device_get({name: pending.metrics[name] for name in names})
        finite.check(pending.step, values, pending.index, lambda: self.checkpoints.newest)
        self.reporter.stepped(pending.step, values)

    def _evaluate(self, program, state: TrainState, step: int, batches, evaluators, stop) -> bool:
        """Measures and reports; False, and nothing is reported, if a notice cuts it short."""
        self._settle()
        measured = []
        try:
            with self.reporter.clock.pause(), stop.cutting():
                if batches is not None:
                    metrics = held_out.evaluate(
                        program,
                        state,
                        batches(),
                        mesh=self.mesh,
                        key=self.held_out_key,
                        num_batches=self.spec.num_held_out_batches,
                    )
                    measured.append(("held_out", metrics))
                for evaluator in interruption.watched(evaluators):
                    measured.append(("evaluation", evaluator(state, step)))
        except interruption.Cut:
            return False
        for split, metrics in measured:
            if metrics:  # none where it is not due
                self.reporter.measured(step, split, metrics)
        return True

    def _save(self, state: TrainState, step: int, is_measured: bool) -> None:
        self._settle()  # never a state after a bad loss
        with self.reporter.clock.pause():
            self.reporter.flush()
            self.checkpoints.save(step, state, self.iterator, is_measured)


def _is_due(every: int, step: int) -> bool:
    return every > 0 and step % every == 0


def _check(spec: Spec) -> None:
    at_least_one = ("num_steps", "log_every", "keep_last")
    for field in dataclasses.fields(spec):
        value, low = getattr(spec, field.name), int(field.name in at_least_one)
        if value < low:
            raise errors.UserError(f"train.{field.name} is {value}; expected {low} or more")
