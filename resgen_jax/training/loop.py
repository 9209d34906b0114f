"""The training loop: any task, any mesh; it resumes, measures, saves and stops cleanly."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from resgen_jax.core import keys
from resgen_jax.runtime import interruption
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import held_out, loss_guard, placement, programs, run_spec
from resgen_jax.training.checkpoints import beginning, local_checkpoints
from resgen_jax.training.loss_guard import LossNotFinite
from resgen_jax.training.run_spec import Spec
from resgen_jax.training.state import Batch, Metrics, Task, TrainState
from resgen_jax.training.telemetry import flops, inspection, observers, reporting, timeline, writer
from resgen_jax.training.telemetry.reporting import Progress

__all__ = ["LossNotFinite", "Progress", "Spec", "Stopped", "run"]

# From the state and its step to numbers by name, and pictures: uint8 arrays "h w c".
Evaluator = Callable[[TrainState, int], dict[str, Any]]


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
    held_out: Callable[[int], Iterable[Batch]] | None = None,
    workdir: str | os.PathLike,
    seed: int,
    progress: Callable[[Progress], None] = lambda event: None,
    evaluators: Sequence[Evaluator] = (),
    inspect: inspection.Spec = inspection.NOTHING,
    began: float | None = None,
    begin: beginning.Begin = programs.initial_state,
) -> TrainState:
    """Train `task` to `spec.num_steps`, from the newest good checkpoint of `workdir` if any.

    `iterator` gives this process's rows of each batch and has `get_state` and `set_state`;
    `held_out` gives as many fresh held-out batches as it is asked for, 0 = all, with "is_valid", of
    all kinds of records alike. `begin` makes the state before the first step. After a resume the
    metrics are, bit for bit, those of a run that never stopped. `began`: when this start began, by
    time.perf_counter.
    Raises LossNotFinite, Stopped, or UserError.
    """
    run_spec.check(spec)
    local_checkpoints.check(spec)

    def warn(message: str) -> None:
        progress(Progress(0, spec.num_steps, {}, message=message))

    with (
        interruption.Interruption(lambda: warn("stopping after this step, saving")) as stop,
        jax.set_mesh(mesh),
        observers.Instruments(
            workdir,
            spec,
            inspect=inspect,
            began=began,
            warn=warn,
        ) as tools,
        local_checkpoints.Checkpoints(
            workdir, spec, facts={"task": task.name, "seed": seed}, warn=warn
        ) as checkpoints,
    ):
        with tools.line.phase("restore"):
            state = checkpoints.restore(placement.abstract_state(mesh, task), iterator, warn)
        if state is None:
            with tools.line.phase("compile"):
                state = begin(task, mesh, seed)
        restored_step = int(state.step)
        tools.spent.go_on_from(restored_step)
        if 0 < restored_step < spec.num_steps:
            warn(f"going on from step {restored_step} of {spec.num_steps}")
        with (
            writer.Writer(
                workdir,
                restored_step=restored_step,
                is_on=jax.process_index() == 0,
                is_measured=checkpoints.is_measured,
                wandb_project=spec.wandb_project,
                warn=warn,
            ) as out,
        ):
            training = _Training(task, spec, mesh, seed, iterator, checkpoints, tools)
            training.reporter = reporting.Reporter(
                out,
                progress,
                spec,
                rates=training.rates,
                tools=tools,
                remarks=task.remarks,
            )
            return training.run(state, restored_step, stop, held_out, evaluators)


class _Pending(NamedTuple):
    """A step that was dispatched and whose metrics were not read yet."""

    step: int
    metrics: Metrics
    index: Any  # record numbers of the batch's rows


class _Training:
    """What lives as long as one call of `run`."""

    reporter: reporting.Reporter

    def __init__(self, task, spec, mesh, seed, iterator, checkpoints, tools):
        self.tools, self.line = tools, tools.line
        self.task, self.spec, self.mesh = task, spec, mesh
        self.iterator, self.checkpoints = iterator, checkpoints
        root = jax.random.key(seed)
        self.key = jax.device_put(root, meshes.replicated(mesh))
        self.held_out_key = keys.named_keys(root, "held_out")["held_out"]
        self.program, self.batch_size = None, 0
        self.evaluation, self.is_evaluation_compiled = None, False
        self.pending: _Pending | None = None

    def run(self, state: TrainState, restored_step: int, stop, batches, evaluators) -> TrainState:
        """Steps until the end, or until asked to stop."""
        num_steps, is_owed = self.spec.num_steps, not self.checkpoints.is_measured
        self.evaluation = jax.jit(self.task.evaluate, out_shardings=meshes.replicated(self.mesh))
        is_cut = is_owed and not self._evaluate(state, restored_step, batches, evaluators, stop)
        if is_cut or (restored_step < num_steps and stop.is_requested()):
            raise Stopped(restored_step)
        if restored_step >= num_steps:
            return state
        self.tools.profiler.begin(restored_step + 1)
        if restored_step:
            self.reporter.spend(restored_step)
        for step in range(restored_step + 1, num_steps + 1):
            with self.tools.profiler.step(step, self._settle, self._pause):
                state = self._step(state, step)
            is_last = step == num_steps
            must_stop, is_measured = stop.is_requested() and not is_last, True
            if is_last or _is_due(self.spec.evaluate_every, step):
                # What a notice leaves no time to measure is owed by the next start.
                is_measured = self._evaluate(state, step, batches, evaluators, stop)
                must_stop |= not is_measured
            if is_last or must_stop or _is_due(self.spec.checkpoint_every, step):
                self._save(state, step, is_measured)
            elif _is_due(self.spec.local_checkpoint_every, step):
                self._save(state, step, is_measured, is_local=True)
            if is_last or must_stop:
                with self.line.phase("checkpoint"):
                    self.checkpoints.wait()
                self.reporter.ended(step)
            if must_stop:
                raise Stopped(step)
        return state

    def _step(self, state: TrainState, step: int) -> TrainState:
        """Dispatch a step, and read the one before while it runs."""
        self.line.come_to(step)
        with self.line.phase("data"):
            rows = next(self.iterator)
            batch = meshes.put_batch(self.mesh, rows)
        if self.program is None:
            self._compile(state, batch, step)
        with self.line.phase(timeline.STEP):
            state, metrics = self.program(state, batch, self.key)
        self.tools.dispatched(step, metrics["loss"])
        self._settle()
        self.pending = _Pending(step, metrics, rows.get("index"))
        return state

    def _compile(self, state: TrainState, batch: Batch, step: int) -> None:
        self.batch_size = next(iter(batch.values())).shape[0]
        with self.line.phase("compile"):
            compiled = programs.compile_step(self.task, self.mesh, state, batch, self.key)
        self.program = compiled.program
        if said := self.tools.compiled(compiled):
            self.reporter.say(step, said)
        self.reporter.compiled(step, compiled.compile_seconds)

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
        names = [name for name in pending.metrics if is_logged or name in loss_guard.CHECKED]
        with self.line.phase(timeline.STEP):
            values = jax.device_get({name: pending.metrics[name] for name in names})
        self.tools.finished(pending.step)
        loss_guard.check(pending.step, values, pending.index, lambda: self.checkpoints.newest)
        self.reporter.stepped(pending.step, values)

    @contextlib.contextmanager
    def _pause(self, phase: str) -> Iterator[None]:
        """The host does something else than training."""
        with self.reporter.clock.pause(), self.line.phase(phase):
            yield

    def _evaluate(self, state: TrainState, step: int, batches, evaluators, stop) -> bool:
        """Measures and reports; False, and nothing is reported, if a notice cuts it short."""
        self._settle()
        measured = []
        try:
            with self._pause("evaluation"), stop.cutting():
                if batches is not None:
                    metrics = held_out.evaluate(
                        self._evaluated,
                        state,
                        batches(self.spec.num_held_out_batches),
                        mesh=self.mesh,
                        key=self.held_out_key,
                    )
                    measured.append(("held_out", metrics))
                for evaluator in interruption.watched(evaluators):
                    with self.line.phase("evaluator"):
                        measured.append(("evaluation", evaluator(state, step)))
        except interruption.Cut:
            return False
        for split, metrics in measured:
            if metrics:  # none where it is not due
                self.reporter.measured(step, split, metrics)
        return True

    def _evaluated(self, *arguments: Any) -> Metrics:
        """The metrics of a held-out batch, soon; compiling belongs to the first one."""
        self.line.beat()
        if self.is_evaluation_compiled:
            return self.evaluation(*arguments)
        self.is_evaluation_compiled = True
        with self.line.phase("compile"):
            return self.evaluation(*arguments)

    def _save(
        self, state: TrainState, step: int, is_measured: bool, is_local: bool = False
    ) -> None:
        self._settle()  # never a state after a bad loss
        with self._pause("checkpoint"):
            self.reporter.flush()
            if is_local:
                self.checkpoints.save_locally(step, state, self.iterator)
            else:
                self.checkpoints.save(step, state, self.iterator, is_measured)
        self.reporter.spend(step)


def _is_due(every: int, step: int) -> bool:
    return every > 0 and step % every == 0
