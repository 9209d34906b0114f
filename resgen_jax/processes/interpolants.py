"""Paths from data to noise, alpha(t) data + sigma(t) noise, and the times that training draws.

Time is 0 at the data and 1 at the noise, as in the SoftVQ and REPA code; in SiT's own code
(arXiv 2401.08740) it runs the other way.
"""

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from resgen_jax.core import build, errors

Times = Float[Array | np.ndarray, "..."]


class Coefficients(NamedTuple):
    """What a path is made of at some times."""

    alpha: Times  # of the data: 1 at time 0, 0 at time 1, both exactly
    sigma: Times  # of the noise: 0 at time 0, 1 at time 1, both exactly
    alpha_rate: Times  # d alpha / d time
    sigma_rate: Times  # d sigma / d time


class Path(NamedTuple):
    """A path, as functions of arrays; NumPy arrays stay NumPy's, in their precision."""

    at: Callable[[Times], Coefficients]
    time_of_ratio: Callable[[Times], Times]  # the inverse of sigma / alpha, from [0, inf) to [0, 1)


# From a key, a number of examples and the path to their times.
TimeDraw = Callable[[Key[Array, ""], int, Path], Float[Array, "b"]]


def _linear(times: Times) -> Coefficients:
    ones = _module(times).ones_like(times)
    return Coefficients(1 - times, times, -ones, ones)


def _cosine(times: Times) -> Coefficients:
    # Both as sines, which are exactly 0 where they have to be; cos(pi / 2) is not.
    sine = _module(times).sin
    alpha, sigma = sine(np.pi / 2 * (1 - times)), sine(np.pi / 2 * times)
    return Coefficients(alpha, sigma, -np.pi / 2 * sigma, np.pi / 2 * alpha)


def _cosine_time(ratio: Times) -> Times:
    return 2 / np.pi * _module(ratio).arctan(ratio)


LINEAR = Path(_linear, lambda ratio: ratio / (1 + ratio))  # alpha = 1 - t, sigma = t
COSINE = Path(_cosine, _cosine_time)  # alpha = cos(pi t / 2), sigma = sin(pi t / 2): SiT's GVP
PATHS = {"linear": LINEAR, "cosine": COSINE}


def by_name(name: str) -> Path:
    """`linear` or `cosine`; raises UserError for another name."""
    if name not in PATHS:
        raise errors.UserError(f"path {name!r} is unknown; {build.nearest(name, PATHS)}")
    return PATHS[name]


def mix(
    data: Float[Array, "b *n"],
    noise: Float[Array, "b *n"],
    times: Float[Array, "b"],
    path: Path,
) -> Float[Array, "b *n"]:
    """alpha data + sigma noise, what a network sees; at least float32.

    Raises UserError for times outside [0, 1], where they are known before tracing.
    """
    at = coefficients(path, times, data)
    wide = at.alpha.dtype
    return jnp.asarray(at.alpha * data.astype(wide) + at.sigma * noise.astype(wide))


def coefficients(
    path: Path, times: Float[Array, "b"], states: Float[Array, "b *n"]
) -> Coefficients:
    """The path at each example's time, in shapes that multiply the states; at least float32.

    Raises UserError for times outside [0, 1], where they are known before tracing.
    """
    check_times(times)
    times = times.astype(at_least_float32(states))
    return path.at(times.reshape(-1, *(1,) * (states.ndim - 1)))


def uniform_times(key: Key[Array, ""], num_examples: int, path: Path) -> Float[Array, "b"]:
    """Even on [0, 1), whatever the path."""
    del path
    return jax.random.uniform(key, (num_examples,))


def lognormal_times(key: Key[Array, ""], num_examples: int, path: Path) -> Float[Array, "b"]:
    """The times at which sigma / alpha is exp(N(0, 1)): most of them in the middle of the path."""
    return jnp.asarray(path.time_of_ratio(jnp.exp(jax.random.normal(key, (num_examples,)))))


TIME_DRAWS: dict[str, TimeDraw] = {"uniform": uniform_times, "lognormal": lognormal_times}


def time_draw_by_name(name: str) -> TimeDraw:
    """`uniform` or `lognormal`; raises UserError for another name."""
    if name not in TIME_DRAWS:
        raise errors.UserError(f"draw of times {name!r}: {build.nearest(name, TIME_DRAWS)}")
    return TIME_DRAWS[name]


def check_times(times: Times) -> None:
    """Raises UserError for times outside [0, 1]; those of a trace are not known yet."""
    if isinstance(times, jax.core.Tracer):
        return
    is_wrong = ~((np.asarray(times) >= 0) & (np.asarray(times) <= 1))
    if np.any(is_wrong):
        raise errors.UserError(
            f"time {np.asarray(times)[is_wrong].flat[0]}; expected 0 (data) to 1 (noise)"
        )


def at_least_float32(states: Float[Array, "..."]) -> jnp.dtype:
    """The type that states are mixed and integrated in."""
    return jnp.dtype(jnp.float64 if states.dtype == jnp.float64 else jnp.float32)


def _module(array: Times) -> ModuleType:
    """NumPy for NumPy arrays, so that the plans of samplers are made in float64."""
    return np if isinstance(array, np.ndarray) else jnp
