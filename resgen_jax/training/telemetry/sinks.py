"""Where metrics go: JSON lines for programs, TensorBoard events and wandb for eyes."""

import contextlib
import importlib.util
import json
import os
import pathlib
import secrets
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from PIL import Image

from resgen_jax.core import errors
from resgen_jax.io import json_files, paths
from resgen_jax.training.telemetry import events

FILE = "metrics.jsonl"
WANDB_FILE = "wandb.json"
Pictures = Mapping[str, np.ndarray]  # uint8 "h w c"
Values = Mapping[str, float | None]  # None where the value was not finite


class Sink(Protocol):
    """Takes the same numbers as all others."""

    def write(self, step: int, split: str, values: Values) -> None:
        """The numbers of one line."""

    def show(self, step: int, split: str, pictures: Pictures) -> None:
        """Pictures beside the numbers of a line, where there are eyes to see them."""

    def flush(self) -> None:
        """What was written is where it belongs when this returns."""

    def close(self) -> None:
        """Nothing more will be written."""


class JsonLines:
    """metrics.jsonl in a folder of this machine; a line is in the file when `write` returns."""

    def __init__(self, folder: pathlib.Path):
        self._file = (folder / FILE).open("a", encoding="utf-8")

    def write(self, step: int, split: str, values: Values) -> None:
        """One line of strict JSON; a value that is not finite is null."""
        line = {"step": step, "split": split, **values}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self.flush()

    def show(self, step: int, split: str, pictures: Pictures) -> None:
        """Lines hold numbers alone."""

    def flush(self) -> None:
        """Nothing is held back by then."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class TensorBoard:
    """Events in a folder of this machine; those of steps from `purge_step` on are hidden."""

    def __init__(self, folder: pathlib.Path, purge_step: int):
        self._events = events.Events(folder, purge_step)

    def write(self, step: int, split: str, values: Values) -> None:
        """A scalar each, split/name; none where the value was not finite."""
        for name, value in values.items():
            if value is not None:
                self._events.add_scalar(f"{split}/{name}", value, step)

    def show(self, step: int, split: str, pictures: Pictures) -> None:
        """An image each, split/name."""
        for name, pixels in pictures.items():
            self._events.add_image(f"{split}/{name}", pixels, step)

    def flush(self) -> None:
        """Everything is in the file by then."""
        self._events.flush()

    def close(self) -> None:
        """Closes the file."""
        self._events.close()


class Wandb:
    """A run of Weights & Biases; when training goes on, it goes on too.

    The environment variables of wandb hold: WANDB_MODE=offline needs no network. A step that was
    computed again after a restart is there twice, with the same numbers.
    """

    def __init__(self, project: str, workdir: paths.Path):
        check_wandb(project)
        import wandb

        self._image = wandb.Image
        settings = {} if paths.is_remote(workdir) else {"dir": os.fspath(workdir)}
        try:
            self._run = wandb.init(
                project=project,
                name=paths.absolute(workdir).name,
                id=_wandb_id(workdir),
                resume="allow",
                config=_config_of(workdir),
                **settings,
            )
        except wandb.errors.Error as failure:  # no key, no network
            reason = " ".join(str(failure).split())
            raise errors.UserError(
                f"wandb could not begin ({reason}); log in by `wandb login`, set "
                "WANDB_MODE=offline, or leave train.wandb_project empty"
            ) from failure
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, split: str, values: Values) -> None:
        """The values as split/name, over the step; none where the value was not finite."""
        finite = {f"{split}/{name}": x for name, x in values.items() if x is not None}
        self._run.log({"step": step, **finite})

    def show(self, step: int, split: str, pictures: Pictures) -> None:
        """An image each, split/name, over the step."""
        # Of arrays wandb guesses whether black is 0 or the least value; of PIL's it need not.
        shown = {
            f"{split}/{name}": self._image(_drawn(pixels)) for name, pixels in pictures.items()
        }
        self._run.log({"step": step, **shown})

    def flush(self) -> None:
        """wandb sends by itself."""

    def close(self) -> None:
        """Waits until all is sent, or in the offline folder."""
        self._run.finish()


def _drawn(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def check_wandb(project: str) -> None:
    """Raises UserError if a wandb project is named, but the package is missing."""
    if project and importlib.util.find_spec("wandb") is None:
        raise errors.UserError(
            f"train.wandb_project is {project!r}, but the package wandb is missing; install it by "
            "pip install 'resgen_jax[wandb]', or leave train.wandb_project empty"
        )


def _wandb_id(workdir: paths.Path) -> str:
    """The id of the run, kept in its directory."""
    file = workdir / WANDB_FILE
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        return str(json_files.parse(file.read_bytes())["id"])
    made = secrets.token_hex(8)
    paths.write(file, (json.dumps({"id": made}) + "\n").encode())
    return made


def _config_of(workdir: paths.Path) -> dict[str, Any]:
    """What the run directory says of the run; nothing where the loop was called without one."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return json_files.parse((workdir / "config.json").read_bytes())
    return {}
