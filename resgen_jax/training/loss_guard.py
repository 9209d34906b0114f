"""The guard against a loss that is no number any more."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from resgen_jax.core import errors

CHECKED = ("loss", "grad_norm")


class LossNotFinite(errors.UserError):
    """The loss or its gradient became NaN or infinite."""


def check(step: int, values: Mapping[str, Any], index: Any, newest: Callable[[], str]) -> None:
    """Raises LossNotFinite unless the loss of `step`, and the norm of its gradient, are finite.

    The message names the records of the batch (`index`) and the `newest` good checkpoint.
    """
    for name in CHECKED:
        if name in values and not math.isfinite(values[name]):
            raise LossNotFinite(
                f"{name} is {float(values[name])} at step {step}, in the batch of records "
                f"{_listed(index)}; last good checkpoint: {newest()}; lower "
                "optimizer.learning_rate, set optimizer.clip_norm, or look at these records"
            )


def _listed(index: Any, limit: int = 64) -> str:
    if index is None:
        return "without an index"
    numbers = np.asarray(index).tolist()
    more = f" and {len(numbers) - limit} more" if len(numbers) > limit else ""
    return ", ".join(map(str, numbers[:limit])) + more
