"""How a verb joins the other processes of its run: by itself where the environment tells of them.

The environments are those that jax knows (Cloud TPU, GKE, Slurm, Open MPI, Kubernetes with its
package), and version 5 of Open MPI, which jax does not know yet.
"""

import os
import re
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax._src import clusters  # there is no public way to ask without joining

from resgen_jax.core import errors
from resgen_jax.runtime import roll_call

ITSELF, OFF = "itself", "off"
TIMEOUT = 300
EXPLICIT = "--distributed=HOST:PORT,COUNT,NUMBER"
WAYS_OUT = f"say where it is with {EXPLICIT}, or run alone with --distributed=off"
EXAMPLE = "--distributed=10.0.0.1:1234,2,0 for the first of two processes"
# Seconds for jax's own handshake once all are there.
HANDSHAKE = 120


class Found(NamedTuple):
    """What an environment, or the user, says of the processes."""

    place: roll_call.Place
    local_device_ids: tuple[int, ...] | None = None


def join(where: str | None, timeout: int = TIMEOUT, say: roll_call.Say = lambda line: None) -> None:
    """Joins the other processes, if there are any; before anything touches a device.

    `where` is the flag's value: None looks for others and runs alone if there are none, "itself"
    insists on an environment that tells of them, "off" runs alone, HOST:PORT,COUNT,NUMBER says it.
    Raises UserError for a malformed one, and naming those that do not come within `timeout` s;
    `say` hears of a long wait.
    """
    if timeout < 1:
        raise errors.UserError(f"--join_timeout is {timeout}; expected seconds, 1 or more")
    if where == OFF or jax.distributed.is_initialized():
        return
    found = find(where, timeout)
    if found is None or found.place.count == 1:
        return
    place = found.place
    if fault := _fault_of_address(place.address):
        raise errors.UserError(f"the first process is at {place.address!r}: {fault}; {WAYS_OUT}")
    roll_call.answer(place, timeout, say)
    try:
        jax.distributed.initialize(
            place.address,
            place.count,
            place.number,
            found.local_device_ids,
            initialization_timeout=max(timeout, HANDSHAKE),
        )
    except (ValueError, RuntimeError) as failure:
        raise errors.UserError(
            f"process {place.number} of {place.count} could not join the others at "
            f"{place.address} ({_short(failure)}); {WAYS_OUT}"
        ) from failure


def find(where: str | None, timeout: int = TIMEOUT) -> Found | None:
    """Where the processes are; None if nothing tells of others."""
    if where not in (None, ITSELF):
        return Found(parse(where))
    try:
        found = _open_mpi_5(os.environ) or _known_to_jax(timeout)
    except errors.UserError:
        raise
    except Exception as failure:  # requests, kubernetes, variables that are no numbers
        raise errors.UserError(
            f"the environment tells of several processes, but not where they are "
            f"({_short(failure)}); {WAYS_OUT}"
        ) from failure
    if found is None and where == ITSELF:
        raise errors.UserError(
            "--distributed found no other processes: this is no Cloud TPU, GKE, Slurm or Open MPI "
            f"job; leave it out to run alone, or say where they are, e.g. {EXAMPLE}"
        )
    return found


def parse(text: str) -> roll_call.Place:
    """HOST:PORT,COUNT,NUMBER. Raises UserError, saying what is wrong with it."""
    words = text.split(",")
    if len(words) != 3:
        raise _malformed(text, f"it has {len(words)} of the parts HOST:PORT, COUNT and NUMBER")
    address, count, number = (word.strip() for word in words)
    if fault := _fault_of_address(address):
        raise _malformed(text, fault)
    if not count.isdecimal() or int(count) < 1:
        raise _malformed(text, f"COUNT is {count!r}; expected how many processes there are")
    if not number.isdecimal() or int(number) >= int(count):
        raise _malformed(text, f"NUMBER is {number!r}; expected 0 to {int(count) - 1}")
    return roll_call.Place(address, int(count), int(number))


def _fault_of_address(address: str) -> str | None:
    host, colon, port = address.rpartition(":")
    if not colon or not host:
        return f"{address!r} is no HOST:PORT"
    if ":" in host and not re.fullmatch(r"\[[0-9A-Fa-f:.%]+\]", host):
        return f"{host!r} is no host; an IPv6 address stands in brackets"
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        return f"the port {port!r} is no number from 1 to 65535"
    return None


def _malformed(text: str, why: str) -> errors.UserError:
    return errors.UserError(
        f"--distributed={text}: {why}; write {EXPLICIT}, e.g. {EXAMPLE}, or --distributed=off"
    )


def _known_to_jax(timeout: int) -> Found | None:
    """What jax's own search finds; it is asked for addresses only where there are several."""
    kinds = clusters.ClusterEnv._cluster_types
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in Kubernetes without its package
        kind = next((k for k in kinds if not k.opt_in_only_method and k.is_env_present()), None)
    if kind is None or (kind is clusters.K8sCluster and "JOB_COMPLETION_INDEX" not in os.environ):
        return None
    if _count(kind, os.environ) == 1:
        return Found(roll_call.Place("", 1, 0))
    known = os.environ.get("JAX_COORDINATOR_ADDRESS"), _count(kind, os.environ)
    # Of a kind that is there, jax leaves nothing but the local devices unset.
    detect: Any = clusters.ClusterEnv.auto_detect_unset_distributed_params
    address, count, number, local = detect(*known, None, None, None, timeout)
    return Found(roll_call.Place(address, count, number), None if local is None else tuple(local))


def _count(kind: Any, environ: Mapping[str, str]) -> int:
    # A shell that salloc opens has the variables of the job, but is one process.
    if kind is clusters.SlurmCluster and "SLURM_STEP_NUM_TASKS" in environ:
        return int(environ["SLURM_STEP_NUM_TASKS"])
    return kind.get_process_count()


def _open_mpi_5(environ: Mapping[str, str]) -> Found | None:
    """Open MPI 5 sets no OMPI_MCA_orte_hnp_uri, by which jax knows Open MPI and its first host.

    Like jax, this takes the host of mpirun for that of process 0.
    """
    if "OMPI_COMM_WORLD_SIZE" not in environ or "OMPI_MCA_orte_hnp_uri" in environ:
        return None
    count, number, local_count, local = (
        int(environ[f"OMPI_COMM_WORLD_{name}"])
        for name in ("SIZE", "RANK", "LOCAL_SIZE", "LOCAL_RANK")
    )
    if count == 1:
        return Found(roll_call.Place("", 1, 0))
    address = environ.get("JAX_COORDINATOR_ADDRESS")
    launched = re.match(r"prterun-(.+)-(\d+)@", environ.get("PMIX_NAMESPACE", ""))
    if address is None:
        if launched is None:
            raise errors.UserError(
                f"mpirun started {count} processes, but does not say where the first is; give "
                "mpirun -x JAX_COORDINATOR_ADDRESS=HOST:PORT, or run alone with --distributed=off"
            )
        host, process_id = launched.groups()
        port = environ.get("JAX_COORDINATOR_PORT") or 65535 - int(process_id) % 2**12
        address = f"{'127.0.0.1' if local_count == count else host}:{port}"
    return Found(roll_call.Place(address, count, number), (local,))


def _short(failure: BaseException) -> str:
    text = " ".join(str(failure).split())[:200]
    return f"{type(failure).__name__}: {text}" if text else type(failure).__name__
