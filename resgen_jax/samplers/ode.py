"""From noise to data along a velocity: solvers of the probability flow in fixed steps.

Each is one `lax.scan`. The states are float32, or float64 where the noise is; the network may
compute in less.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from resgen_jax.core import build, errors
from resgen_jax.processes import interpolants, noise_levels
from resgen_jax.samplers import interface

Grid = Float[Array | np.ndarray, "s_and_1"]
Solver = Callable[[interface.Velocity, Float[Array, "b *n"], Grid], Float[Array, "b *n"]]


def euler(
    velocity: interface.Velocity, noise: Float[Array, "b *n"], times: Grid
) -> Float[Array, "b *n"]:
    """Data out of noise by Euler steps, of order 1; one call a step, none at the last time.

    Raises UserError for times that do not fall from at most 1 to at least 0.
    """
    states, pairs = _start(noise, times)

    def step(states, inputs):
        time, next_time = inputs
        return states + (next_time - time) * at_time(velocity, states, time), None

    return jax.lax.scan(step, states, pairs)[0]


def heun(
    velocity: interface.Velocity, noise: Float[Array, "b *n"], times: Grid
) -> Float[Array, "b *n"]:
    """The same by Heun's steps, of order 2; two calls a step, but one at the last.

    The last step is Euler's, so that the velocity is never asked for at the data, where that of a
    distribution on a surface has no limit (EDM, arXiv 2206.00364, algorithm 1). The order stays 2.
    """
    states, (starts, ends) = _start(noise, times)

    def step(states, inputs):
        time, next_time = inputs
        first = at_time(velocity, states, time)
        second = at_time(velocity, states + (next_time - time) * first, next_time)
        return states + (next_time - time) * (first + second) / 2, None

    states, _ = jax.lax.scan(step, states, (starts[:-1], ends[:-1]))
    return states + (ends[-1] - starts[-1]) * at_time(velocity, states, starts[-1])


SOLVERS: dict[str, Solver] = {"euler": euler, "heun": heun}


def by_name(name: str) -> Solver:
    """`euler` or `heun`; raises UserError for another name."""
    if name not in SOLVERS:
        raise errors.UserError(f"solver {name!r} is unknown; {build.nearest(name, SOLVERS)}")
    return SOLVERS[name]


def at_time(
    predict: interface.Velocity, states: Float[Array, "b *n"], time: Float[Array, ""]
) -> Float[Array, "b *n"]:
    """The prediction for all examples at one time, in the type of the states."""
    return predict(states, jnp.full(states.shape[:1], time)).astype(states.dtype)


def _start(noise: Array, times: Grid) -> tuple[Array, tuple[Array, Array]]:
    """States that are wide enough, and the first and last time of each step."""
    noise_levels.check_falling(times)
    states = noise.astype(interpolants.at_least_float32(noise))
    grid = jnp.asarray(times, states.dtype)
    return states, (grid[:-1], grid[1:])
