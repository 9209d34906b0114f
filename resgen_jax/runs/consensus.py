"""What the processes of a verb tell each other before they begin: one command, one run."""

import argparse
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jaxlib

import resgen_jax
from resgen_jax.core import shell
from resgen_jax.io import locks, paths
from resgen_jax.runs import run_directory
from resgen_jax.runtime import agreement, processes, work_directory

# Of this process alone.
NOT_COMPARED = ("command", "distributed", "join_timeout", "help")
# What changes the programs or the random numbers.
SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
)
SAME_COMMAND = "Start all of them with the same program and the same flags"
SAME_DISK = "Name a run directory on a disk that all hosts see, or in a bucket"
OTHER_PLACE = "name another --workdir"
LOCK, SECONDS_TO_LOCK = "lock", 600.0  # a lock of another machine is watched for a while
SAME_DEVICES = "Give every process devices of the same kind and number"
SAME_DATA = "Give every host the same files: copy them anew, or name a disk that all of them see"
SECONDS_TO_READ = 3600.0  # the first process to come waits for the slowest disk
NUM_DIGITS = 12
SAME_RUN = "Start all of them with the same config file and the same --config fields"


def on_command(
    verb: str, values: argparse.Namespace, overrides: shell.Overrides, say: Callable[[str], None]
) -> None:
    """Raises UserError, in every process, unless all run the same command on the same devices.

    `say` hears of clocks that differ.
    """
    if processes.group() is None:
        return
    _compare("the command", _command(verb, values, overrides), SAME_COMMAND)
    _compare("the run directory", _run_seen(verb, values), SAME_DISK)
    _compare("the devices", _devices(), SAME_DEVICES)
    processes.meet("the clocks")
    told = processes.gather("the time", json.dumps(time.time()))
    warning = agreement.clock_warning([json.loads(text) for text in told], processes.names())
    if warning and jax.process_index() == 0:
        say(warning)


def on_run(config: Any, workdir: str | os.PathLike) -> None:
    """Raises UserError, in every process, unless all have this config and share the directory."""
    fields = run_directory.flatten(run_directory.to_json(config))
    _compare("the config", fields, SAME_RUN)
    work_directory.check(workdir)


def on_data(found: Mapping[str, str]) -> None:
    """Raises UserError, in every process, unless all see the same data.

    `found`: fingerprints or checksums of their parts, which lie on disks of each host's own.
    """
    facts = {f"the fingerprint of {name}": text[:NUM_DIGITS] for name, text in found.items()}
    _compare("the data", facts, SAME_DATA, SECONDS_TO_READ)


@contextlib.contextmanager
def alone(workdir: str | os.PathLike, say: Callable[[str], None]) -> Iterator[None]:
    """The run directory is this run's alone while the block runs; its first process holds the lock.

    Raises UserError, in every process, where another run is at it.
    """
    folder = paths.absolute(workdir)
    is_new = not paths.is_remote(folder) and not folder.exists()
    if jax.process_index() > 0:
        processes.meet("the lock", SECONDS_TO_LOCK)
        yield
        return
    try:
        with locks.held(folder / LOCK, os.fspath(workdir), OTHER_PLACE, say):
            processes.meet("the lock", SECONDS_TO_LOCK)
            yield
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # something was written, as it should be
                folder.rmdir()


def machines() -> str | None:
    """`2 processes on 2 hosts, 4 devices each (TPU v5e)`; None for one process."""
    there = processes.group()
    if there is None:
        return None
    hosts = {name.partition("(")[2] for name in processes.names()}
    kind = jax.devices()[0].device_kind
    return (
        f"{there.count} processes on {len(hosts)} host{'s' * (len(hosts) > 1)}, "
        f"{jax.local_device_count()} device{'s' * (jax.local_device_count() > 1)} each ({kind})"
    )


def _compare(
    purpose: str, facts: dict[str, Any], way_out: str, timeout: float = processes.TIMEOUT
) -> None:
    told = processes.gather(purpose, json.dumps(facts), timeout)
    agreement.check([json.loads(text) for text in told], processes.names(), way_out)


def _command(verb: str, values: argparse.Namespace, overrides: shell.Overrides) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "the verb": verb,
        "the version of resgen_jax": resgen_jax.__version__,
        "the version of jax": jax.__version__,
        "the version of jaxlib": jaxlib.__version__,
    }
    facts |= {name: str(getattr(jax.config, name, None)) for name in SETTINGS}
    facts |= {
        f"--{name}": value if isinstance(value, bool | int | float | str | None) else str(value)
        for name, value in vars(values).items()
        if name not in NOT_COMPARED and not callable(value)
    }
    return facts | {f"{shell.CONFIG_FIELD}{field}": text for field, text in overrides}


def _run_seen(verb: str, values: argparse.Namespace) -> dict[str, Any]:
    """Whether the run that a verb reads is there; who does not see it would leave the others."""
    workdir = getattr(values, "workdir", None)
    if not workdir or verb == "train":
        return {}
    is_there = (paths.of(workdir) / run_directory.FILE).is_file()
    return {f"--workdir={workdir}": "a run" if is_there else "no run"}


def _devices() -> dict[str, Any]:
    local = jax.local_devices()
    return {
        "the number of its devices": len(local),
        "the kind of its devices": ", ".join(sorted({device.device_kind for device in local})),
    }
