"""What a run's data are: kept in its directory, and the same or told of whenever the run goes on.

Where they lie is not part of it: images and codes that were moved are the same data.
"""

import os
from collections.abc import Mapping
from typing import Any

import ml_collections

from resgen_jax.cli import run_directory, sections
from resgen_jax.core import errors
from resgen_jax.data import fingerprints
from resgen_jax.io import json_files, paths
from resgen_jax.training.checkpoints import checkpoint, local_checkpoints

FILE = "data.json"  # of images; of codes it is a copy of their description
ACCEPT = "--config.train.accept_data="
NUM_DIGITS = 12
WAY_OUT = "restore it, or delete it if the data are those that the run began with"


def start_or_continue_on_images(
    workdir: str | os.PathLike, config: ml_collections.ConfigDict, found: Mapping[str, str]
) -> None:
    """As `run_directory.start_or_continue`, on images with these fingerprints of each part.

    Raises UserError where the run has seen others, unless `train.accept_data` names these.
    """
    workdir, name = paths.of(workdir), fingerprints.digest(found.values())[:NUM_DIGITS]
    place = config.data.path or config.data.source
    known = _known(workdir / FILE)
    accepted = sections.read(config, "train").accept_data
    if accepted not in ("", name):
        raise errors.UserError(
            f"train.accept_data is {accepted!r}, but the images in {place} are {name!r}; leave it "
            f"out, and look at what they are"
        )
    is_same = known == found or accepted == name or not has_begun(workdir)
    if known is not None and not is_same:
        raise errors.UserError(
            f"the images in {place} are not those that the run in {workdir} began with (other "
            f"names, sizes or contents); bring those back, begin a new run on these from its "
            f"parameters ({run_directory.init_from(workdir)}), or go on with these all the same: "
            f"{ACCEPT}{name}"
        )
    more = f"; if the images were only moved, {ACCEPT}{name} says so"
    run_directory.start_or_continue(workdir, config, is_same_data=is_same, more=more)
    run_directory.write_json(workdir / FILE, found)


def start_or_continue_on_codes(
    workdir: str | os.PathLike,
    config: ml_collections.ConfigDict,
    file: str,
    description: Mapping[str, Any],
) -> None:
    """The same for codes, whose description with the sha256 of every file is kept in `file`.

    Raises UserError where the run has seen others.
    """
    workdir = paths.of(workdir)
    known = _known(workdir / file)
    is_known = known is not None and known.get("sha256") == description["sha256"]
    is_same = is_known or not has_begun(workdir)
    if known is not None and not is_same:
        raise errors.UserError(
            f"the codes in {config.data.codes} are not those that the run in {workdir} began with; "
            f"bring those back, or begin a new run on these from its parameters: "
            f"{run_directory.init_from(workdir)}"
        )
    run_directory.start_or_continue(workdir, config, is_same_data=is_same)
    run_directory.write_json(workdir / file, description)


def has_begun(workdir: paths.Path) -> bool:
    """Whether anything that was learnt is saved; until then the data may be mended."""
    return (workdir / local_checkpoints.FILE).is_file() or bool(checkpoint.steps(workdir))


def _known(path: paths.Path) -> dict[str, Any] | None:
    return json_files.read(path, WAY_OUT) if path.is_file() else None
