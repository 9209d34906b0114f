"""The mark of runs that were trained on noise, to measure speed (--synthetic_data)."""

import dataclasses
import os
from typing import Any

from resgen_jax.core import errors


def marked(config: Any) -> Any:
    """The config as one of noise: its run directory says so, and all other verbs refuse it."""
    return dataclasses.replace(config, synthetic_data=True)


def is_marked(config: Any) -> bool:
    """Whether what it trains, or has trained, saw noise alone."""
    return config.synthetic_data


def refuse(config: Any, workdir: str | os.PathLike) -> None:
    """Raises UserError for the run of a config that is marked."""
    if is_marked(config):
        raise errors.UserError(
            f"{workdir} was trained on noise (--synthetic_data), to measure speed, and makes "
            "nothing of use; train into another --workdir, on data"
        )
