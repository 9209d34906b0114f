"""Training runs in processes of their own, which faults are done to.

The processes are forked from one that has imported all: a start costs a second, not five. Each ends
as the command line does: 0 done, 2 the user's mistake, 3 stopped after saving.
"""

import contextlib
import dataclasses
import functools
import json
import multiprocessing
import multiprocessing.forkserver
import os
import pathlib
import resource
import signal
import sys
import time

HELPERS = pathlib.Path(__file__).parent
ROOT = HELPERS.parents[1]
sys.path[:0] = [str(HELPERS), str(ROOT)]

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".jax_cache"))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import fault_io  # noqa: E402
import jax  # noqa: E402
import toy_task  # noqa: E402

from resgen_jax.cli import __main__ as cli  # noqa: E402
from resgen_jax.core import errors  # noqa: E402
from resgen_jax.data import pipeline  # noqa: E402
from resgen_jax.runtime import mesh as meshes  # noqa: E402
from resgen_jax.training import loop  # noqa: E402

SPEC = loop.Spec(num_steps=40, log_every=1, evaluate_every=10, checkpoint_every=5)
DEADLINE = 600.0  # seconds; on a busy machine a start alone takes a minute
LOCAL = "-fast"  # behind the name of the work directory


class Process:
    """One start of a run; what it says goes to `log`."""

    def __init__(self, target, *arguments, log):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["fault_runs"])
        with fault_io.preloaded():
            multiprocessing.forkserver.ensure_running()
        self.log = pathlib.Path(log)
        self._process = context.Process(target=_begin, args=(target, arguments, str(log)))
        self._process.start()

    def send(self, number):
        """A signal; nothing happens to a process that has ended."""
        # The fork server reaps its children: one that ends after the question is gone at once.
        with contextlib.suppress(ProcessLookupError):
            if self._process.is_alive():
                os.kill(self._process.pid, number)

    def wait(self, deadline=DEADLINE):
        """The exit code, negative for a signal; killed at the deadline, which raises."""
        self._process.join(deadline)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise TimeoutError(f"still running after {deadline} s; see {self.log}")
        return self._process.exitcode

    def is_alive(self):
        """Whether it still runs."""
        return self._process.is_alive()

    def said(self):
        """The lines that it wrote, warnings of the fork left out."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if line.strip() and "os.fork" not in line]


def _begin(target, arguments, log):
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.pop("LD_PRELOAD", None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup has ignored
    sys.exit(target(*arguments))


def toy(workdir, poison_from=0, killed_at=0, seconds=0.0, local="", hidden=toy_task.HIDDEN):
    """The toy run to its end; `seconds` more a step. `local`: a place for local checkpoints.

    From step `poison_from` on the loss is not finite. At the operation `killed_at` on files of the
    work directory (0 = never) the process is killed.
    """
    if killed_at:
        _kill_at_operation(os.path.abspath(workdir), killed_at)

    def report(event):
        if event.message:
            sys.stderr.write(f"warning: {event.message}\n")
        time.sleep(seconds)

    return _as_command(functools.partial(run_toy, workdir, poison_from, report, local, hidden))


def toy_slowly(workdir):
    """The toy run with time between its steps."""
    return toy(workdir, seconds=0.02)


def toy_with_local(workdir):
    """The toy run that keeps checkpoints on a fast disk beside its directory, too."""
    return toy(workdir, local=f"{workdir}{LOCAL}")


def run_toy(workdir, poison_from=0, report=lambda event: None, local="", hidden=toy_task.HIDDEN):
    """The toy run in this process; raises what the loop raises."""
    task, spec = toy_task.ToyTask(num_steps=SPEC.num_steps, hidden=hidden), SPEC
    if local:
        spec = dataclasses.replace(spec, local_checkpoints=str(local), local_checkpoint_every=2)
    if poison_from:
        clean = task.step

        def step(state, batch, key):
            after, metrics = clean(state, batch, key)
            is_bad = state.step + 1 >= poison_from
            return after, metrics | {
                "loss": jax.numpy.where(is_bad, jax.numpy.nan, metrics["loss"])
            }

        task.step = step
    return loop.run(
        task,
        spec,
        mesh=meshes.make(meshes.Spec(), jax.devices()[:1]),
        iterator=pipeline.train_iterator(toy_task.rows(), batch_size=16, seed=0),
        held_out=toy_task.held_out,
        workdir=workdir,
        seed=0,
        progress=report,
    )


def command(*arguments):
    """`resgen ARGUMENTS` to its end."""
    return cli.main([str(argument) for argument in arguments])


def limited(target, size, workdir):
    """A run, whose files may not grow beyond `size` bytes: a full disk, to a writer."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    jax.config.update("jax_enable_compilation_cache", False)  # which lies elsewhere
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return target(workdir)


def count_operations(workdir, place):
    """The toy run; how many operations on files `_kill_at_operation` counts in it."""
    numbers = _count(os.path.abspath(workdir), lambda number: None)
    code = toy(workdir)
    pathlib.Path(place).write_text(json.dumps(numbers[0]))
    return code


def _as_command(run):
    try:
        run()
    except errors.UserError as failure:
        sys.stderr.write(f"error: {failure}\n")
        return 2
    except loop.Stopped as stopped:
        sys.stderr.write(f"{stopped}\n")
        return 3
    return 0


def _kill_at_operation(workdir, last):
    def act(number):
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)

    _count(workdir, act)


def _count(workdir, act):
    """Calls `act` with the number of each operation on files below `workdir`, before it is done."""
    operations = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"}
    numbers = [0]

    def hook(event, arguments):
        if event not in operations or not isinstance(arguments[0], str | os.PathLike):
            return
        if os.fspath(arguments[0]).startswith(workdir):
            numbers[0] += 1
            act(numbers[0])

    sys.addaudithook(hook)
    return numbers


def lines(workdir):
    """What a repeated run has to write again: metrics of steps and of held-out batches."""
    path = pathlib.Path(workdir) / "metrics.jsonl"
    found = path.read_text().splitlines() if path.exists() else []
    kept = []
    for line in found:
        with contextlib.suppress(json.JSONDecodeError):  # torn by a kill
            if json.loads(line)["split"] not in ("speed", "goodput"):
                kept.append(line)
    return kept


def last_step(workdir):
    """The last step that was told of."""
    return max((json.loads(line)["step"] for line in lines(workdir)), default=0)


def first_step(workdir):
    """The step with which the last start began."""
    return _first_steps(workdir)[-1]


def num_starts(workdir):
    """How often it was begun or gone on with, and trained."""
    return len(_first_steps(workdir))


def _first_steps(workdir):
    """The step with which each start began: all compile before their first one."""
    path = pathlib.Path(workdir) / "metrics.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        line["step"] for line in found if line["split"] == "speed" and "compile_seconds" in line
    ]


def newest_saved(workdir):
    """The step of the newest finished checkpoint, local ones included; 0 if there is none."""
    places = [workdir, *pathlib.Path(f"{workdir}{LOCAL}").glob("run-*")]
    return max((step for place in places for step in saved_steps(place)), default=0)


def saved_steps(workdir):
    """The steps of finished checkpoints, oldest first."""
    folder = pathlib.Path(workdir) / "checkpoints"
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdigit())
