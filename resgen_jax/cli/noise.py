"""The mark of runs that were trained on noise, to measure speed (--synthetic_data)."""

import os

import ml_collections

from resgen_jax.core import errors

FIELD = "synthetic_data"


def mark(config: ml_collections.ConfigDict) -> None:
    """Makes it a config of noise: its run directory says so, and is refused by all other verbs."""
    with config.unlocked():
        config[FIELD] = True


def is_marked(config: ml_collections.ConfigDict) -> bool:
    """Whether what it trains, or has trained, saw noise alone."""
    return bool(config.get(FIELD, False))


def refuse(config: ml_collections.ConfigDict, workdir: str | os.PathLike) -> None:
    """Raises UserError for the run of a config that is marked."""
    if is_marked(config):
        raise errors.UserError(
            f"{workdir} was trained on noise (--synthetic_data), to measure speed, and makes "
            "nothing of use; train into another --workdir, on data"
        )
