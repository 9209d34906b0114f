"""Where what a run names lies now: paths in it are hints, which moving the run makes old."""

import dataclasses
import glob
import os
import pathlib
from collections.abc import Callable
from typing import Any

from resgen_jax.convert import exports, own_tokenizer
from resgen_jax.core import errors
from resgen_jax.data import codes, patterns
from resgen_jax.io import json_files, paths
from resgen_jax.runs import run_directory

MOST_FOLDERS, MOST_PARTS = 3, 3  # how far above the run, and how much of the hint's end
OF_IMAGES = ("path", "held_out_path", "class_names")
Note = Callable[[str], None]


def find(hint: str, near: str | os.PathLike, is_it: Callable[[str], bool]) -> str | None:
    """The hint if that is it; else what ends as it does, in the nearest folder above `near`.

    Of /old/demo/codes, which the run now in /new/demo/generator names, that is /new/demo/codes.
    """
    if is_it(hint):
        return hint
    if paths.is_remote(hint) != paths.is_remote(near):
        return None
    place = paths.absolute(near)
    parts = pathlib.PurePosixPath(hint.partition("://")[2] or hint).parts
    ends = [parts[-count:] for count in range(min(MOST_PARTS, len(parts) - 1), 0, -1)]
    for folder in [place, *place.parents][:MOST_FOLDERS]:
        for end in ends:
            candidate = os.fspath(folder.joinpath(*end))
            if is_it(candidate):
                return candidate
    return None


def settle(config: Any, workdir: str | os.PathLike, note: Note) -> Any:
    """The config with its data where they lie now; what is not found stays as it is."""
    return _settle(config, workdir, note, _are_codes_of(workdir))


def settle_missing(config: Any, workdir: str | os.PathLike, note: Note) -> Any:
    """The same for a run that goes on by a config of the user's: what is there is left alone.

    Whether that is what the run began with is asked when it is opened.
    """
    if not is_run(os.fspath(workdir)):
        return config
    given, are_its_codes = getattr(config.data, "codes", ""), _are_codes_of(workdir)

    def is_it(place: str) -> bool:
        is_given = place == given and (paths.of(place) / codes.DESCRIPTION).is_file()
        return is_given or are_its_codes(place)

    return _settle(config, workdir, note, is_it)


def settle_tokenizer(meta: codes.Meta, near: str | os.PathLike, note: Note) -> codes.Meta:
    """With where the tokenizer of some codes lies now; as it is, if that is not found.

    An export has its own inside, which is the one that made its codes whatever became of the run.
    """
    inside = paths.of(near) / own_tokenizer.FOLDER
    if exports.is_export(near) and exports.is_export(inside):
        return dataclasses.replace(meta, tokenizer=os.fspath(inside))
    found = find(meta.tokenizer, near, is_run) if meta.tokenizer else None
    if not found or found == meta.tokenizer:
        return meta
    note(f"the tokenizer is not in {meta.tokenizer} any more: taken from {found}")
    return dataclasses.replace(meta, tokenizer=found)


def is_there(path: str) -> bool:
    """Whether anything lies at a path or pattern."""
    words = [path, *patterns.expand(path)]  # a name with braces in it comes first
    return any(os.path.exists(word) or glob.glob(word) for word in words)


def is_run(place: str) -> bool:
    """Whether a run directory or an export is there."""
    return paths.is_file(paths.of(place) / run_directory.FILE)


def check_images(config: Any) -> None:
    """Raises UserError, with the flag to say it, where a run's images are not where they were."""
    place = config.data.path
    if place and not is_there(place):
        raise errors.UserError(
            f"the tokenizer's own images lay in {place}, which is not there; say where they are "
            f"now with --images=DIR"
        )


def _settle(
    config: Any, workdir: str | os.PathLike, note: Note, are_codes: Callable[[str], bool]
) -> Any:
    checks = dict.fromkeys(OF_IMAGES, is_there) | {"codes": are_codes}
    for field, is_it in checks.items():
        hint = getattr(config.data, field, "")
        found = find(hint, workdir, is_it) if hint else None
        if found and found != hint:
            note(f"data.{field} of {workdir} is not {hint} any more: taken from {found}")
            data = dataclasses.replace(config.data, **{field: found})
            config = dataclasses.replace(config, data=data)
    return config


def _are_codes_of(workdir: str | os.PathLike) -> Callable[[str], bool]:
    """Whether the codes at a place are those that the run in `workdir` was trained on."""
    own = sums_of_codes(os.fspath(workdir))
    return lambda place: own is not None and sums_of_codes(place) == own


def sums_of_codes(place: str) -> dict[str, str] | None:
    """The sha256 of the files of some codes, kept there or by the run of a generator."""
    try:
        return json_files.read(paths.of(place) / codes.DESCRIPTION, "").get("sha256")
    except (OSError, errors.UserError):
        return None
