"""Iso-FLOP curves: at each budget, the size with the lowest loss, by a parabola in log size."""

import dataclasses

import numpy as np
from jaxtyping import Float

from resgen_jax.core import errors

Rows = Float[np.ndarray, "n"]


@dataclasses.dataclass(frozen=True)
class Minimum:
    """The lowest point of a parabola of loss over log size; see `verdict` for whether it is one."""

    size: float
    loss: float
    curvature: float  # of the loss over the natural logarithm of the size
    verdict: str  # "inside", "below the smallest size", "above the largest size" or "no minimum"


def minimum(sizes: Rows, losses: Rows) -> Minimum:
    """The minimum at one budget, least squares (Hoffmann et al., 2022, approach 2).

    Where the parabola has its minimum outside the sizes that were run, or opens downward, `size`
    and `loss` are those of the best run, and `verdict` says so: no extrapolation. Raises UserError
    for fewer than three sizes.
    """
    if len(np.unique(sizes)) < 3:
        raise errors.UserError(
            f"a parabola needs 3 sizes at a budget, not {len(np.unique(sizes))}: add sizes to the "
            f"study, or finish its runs"
        )
    middle = np.log(sizes).mean()  # the powers of centred numbers are told apart better
    places = np.log(sizes) - middle
    second, first, constant = np.polyfit(places, losses, 2)
    best = int(np.argmin(losses))
    if second <= 0:
        return Minimum(float(sizes[best]), float(losses[best]), float(2 * second), "no minimum")
    place = -first / (2 * second)
    if not places.min() <= place <= places.max():
        side = "below the smallest size" if place < places.min() else "above the largest size"
        return Minimum(float(sizes[best]), float(losses[best]), float(2 * second), side)
    lowest = constant - first**2 / (4 * second)
    return Minimum(float(np.exp(place + middle)), float(lowest), float(2 * second), "inside")


def parabola(
    sizes: Rows, losses: Rows, at: Float[np.ndarray, "points"]
) -> Float[np.ndarray, "points"]:
    """The parabola of `minimum`, to be drawn."""
    middle = np.log(sizes).mean()
    numbers = np.polyfit(np.log(sizes) - middle, losses, 2)
    return np.polyval(numbers, np.log(at) - middle)
