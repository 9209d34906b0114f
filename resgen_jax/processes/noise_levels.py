"""Falling levels of noise for samplers: points of a path, or steps of a diffusion schedule."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from resgen_jax.core import errors
from resgen_jax.processes import interpolants

LARGEST_BETA = 0.999
OFFSET = 0.008


class Schedule(NamedTuple):
    """The steps of a discrete diffusion, from the least noise (0) to the most."""

    alpha: Float[np.ndarray, "s"]  # square root of the cumulative product of 1 - beta
    sigma: Float[np.ndarray, "s"]  # alpha^2 + sigma^2 = 1


class Levels(NamedTuple):
    """What a sampler passes through: one call at each level but the last, which is the result."""

    times: Float[np.ndarray, "s"]  # what the network is told
    alpha: Float[np.ndarray, "s_and_1"]
    sigma: Float[np.ndarray, "s_and_1"]


def squared_cosine(num_steps: int = 1000) -> Schedule:
    """The "cosine" schedule of Nichol and Dhariwal (arXiv 2102.09672, equation 17).

    beta = 1 - f(i + 1) / f(i), at most 0.999, with f(i) = cos^2(pi / 2 (i / N + s) / (1 + s)).
    Raises UserError for fewer than one step.
    """
    check_num_steps(num_steps)
    share = np.arange(num_steps + 1) / num_steps
    f = np.cos(np.pi / 2 * (share + OFFSET) / (1 + OFFSET)) ** 2
    beta = np.minimum(1 - f[1:] / f[:-1], LARGEST_BETA)
    kept = np.cumprod(1 - beta)
    return Schedule(np.sqrt(kept), np.sqrt(1 - kept))


def respaced(schedule: Schedule, num_steps: int) -> Levels:
    """So many of a schedule's steps, evenly from its last to its first, then no noise.

    The network is told their numbers in the schedule. A single step is the last one, where all is
    noise; public code takes the first. Raises UserError for more steps than there are.
    """
    most = len(schedule.alpha)
    check_num_steps(num_steps)
    if num_steps > most:
        raise errors.UserError(
            f"num_steps is {num_steps}; expected at most {most}, the steps of the schedule"
        )
    steps = np.rint(np.linspace(most - 1, 0, num_steps)).astype(np.int64)
    return Levels(
        steps.astype(np.float64),
        np.append(schedule.alpha[steps], 1.0),
        np.append(schedule.sigma[steps], 0.0),
    )


def on_path(path: interpolants.Path, times: Float[np.ndarray, "s_and_1"]) -> Levels:
    """The levels of a path at falling times; the network is told all but the last.

    Raises UserError for times that do not fall or leave [0, 1], and for fewer than two.
    """
    check_falling(times)
    times = np.asarray(times, np.float64)
    at = path.at(times)
    return Levels(times[:-1], np.asarray(at.alpha), np.asarray(at.sigma))


def mix(
    data: Float[Array, "b *n"],
    noise: Float[Array, "b *n"],
    steps: Int[Array, "b"],
    schedule: Schedule,
) -> Float[Array, "b *n"]:
    """alpha data + sigma noise at these steps of the schedule; at least float32.

    Raises UserError for steps that it does not have, where they are known before tracing.
    """
    alpha, sigma = _of_steps(schedule, steps, data)
    return alpha * data.astype(alpha.dtype) + sigma * noise.astype(sigma.dtype)


def data_of_noise(
    noise: Float[Array, "b *n"],
    states: Float[Array, "b *n"],
    steps: Int[Array, "b"] | Float[Array, "b"],
    schedule: Schedule,
) -> Float[Array, "b *n"]:
    """The data that goes with a predicted noise at these steps of the schedule; not clipped.

    Samplers tell the steps as floats, as networks take them. Raises UserError as `mix` does.
    """
    alpha, sigma = _of_steps(schedule, steps.astype(jnp.int32), states)
    return (states.astype(alpha.dtype) - sigma * noise.astype(sigma.dtype)) / alpha


def check_falling(times: Float[Array | np.ndarray, "_"]) -> None:
    """Raises UserError unless these are two or more falling times within [0, 1]."""
    if len(times) < 2:
        raise errors.UserError(
            f"{len(times)} times; expected at least 2, from noise to data, as of one step"
        )
    interpolants.check_times(times)
    if not isinstance(times, jax.core.Tracer) and not np.all(np.diff(times) < 0):
        raise errors.UserError(f"times {times}; expected falling ones, from noise (1) to data (0)")


def check_num_steps(num_steps: int) -> None:
    """Raises UserError for fewer than one step."""
    if num_steps < 1:
        raise errors.UserError(f"num_steps is {num_steps}; expected at least 1")


def _of_steps(schedule: Schedule, steps: Array, states: Array) -> tuple[Array, Array]:
    """alpha and sigma of each example, in shapes that multiply the states."""
    last = len(schedule.alpha) - 1
    if not isinstance(steps, jax.core.Tracer) and not 0 <= np.min(steps) <= np.max(steps) <= last:
        raise errors.UserError(
            f"steps from {np.min(steps)} to {np.max(steps)}; expected 0 to {last}"
        )
    wide = interpolants.at_least_float32(states)
    shape = (-1, *(1,) * (states.ndim - 1))
    alpha, sigma = (jnp.asarray(table, wide)[steps].reshape(shape) for table in schedule)
    return alpha, sigma
