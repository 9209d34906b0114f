"""What a run's data are: kept in its directory, and the same or told of whenever the run goes on.

Where they lie is not part of it: images and codes that were moved are the same data.
"""

import os
from typing import Any

from resgen_jax.core import errors
from resgen_jax.data import fingerprints
from resgen_jax.io import json_files, paths
from resgen_jax.recipes import interface
from resgen_jax.runs import run_directory
from resgen_jax.training.checkpoints import local_checkpoints, restoring

ACCEPT = "--config.train.accept_data="
NUM_DIGITS = 12
WAY_OUT = "restore it, or delete it if the data are those that the run began with"


def start_or_continue(
    workdir: str | os.PathLike, config: Any, role: interface.Role, data: interface.Data
) -> None:
    """As `run_directory.start_or_continue`, on these data.

    Raises UserError where the run has seen others, unless `train.accept_data` names these.
    """
    workdir = paths.of(workdir)
    path = workdir / role.record_file
    known = json_files.read(path, WAY_OUT) if path.is_file() else None
    is_new = not has_begun(workdir)
    if role.may_accept_others:
        name = fingerprints.digest(data.identity.values())[:NUM_DIGITS]
        is_accepted = _is_accepted(config, name)
        is_same = known == data.record or is_accepted or is_new
        way_out = (
            f" (other names, sizes or contents); bring those back, begin a new run on these from "
            f"its parameters ({run_directory.init_from(workdir)}), or go on with these all the "
            f"same: {ACCEPT}{name}"
        )
        more = f"; if the {role.trains_on} were only moved, {ACCEPT}{name} says so"
    else:
        is_same = is_new or (known is not None and known.get("sha256") == data.identity)
        way_out = (
            f"; bring those back, or begin a new run on these from its parameters: "
            f"{run_directory.init_from(workdir)}"
        )
        more = ""
    if known is not None and not is_same:
        raise errors.UserError(
            f"the {role.trains_on} in {_place(config)} are not those that the run in {workdir} "
            f"began with{way_out}"
        )
    run_directory.start_or_continue(workdir, config, is_same_data=is_same, more=more)
    run_directory.write_json(path, data.record)


def has_begun(workdir: paths.Path) -> bool:
    """Whether anything that was learnt is saved; until then the data may be mended."""
    return (workdir / local_checkpoints.FILE).is_file() or bool(restoring.steps(workdir))


def _is_accepted(config: Any, name: str) -> bool:
    """Whether the config names these data; UserError where it names others."""
    accepted = config.train.accept_data
    if accepted not in ("", name):
        raise errors.UserError(
            f"train.accept_data is {accepted!r}, but the images in {_place(config)} are {name!r}; "
            f"leave it out, and look at what they are"
        )
    return accepted == name


def _place(config: Any) -> str:
    spec = config.data
    return getattr(spec, "path", "") or getattr(spec, "codes", "") or getattr(spec, "source", "")
