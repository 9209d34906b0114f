"""DPM-Solver++(2M): the flow of a diffusion in few steps, from predictions of the data."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from resgen_jax.processes import interpolants, noise_levels
from resgen_jax.samplers import interface, ode


class Plan(NamedTuple):
    """Numbers of each step: states become `from_state` states + `from_data` data."""

    times: Float[Array | np.ndarray, "s"]  # what the network is told
    from_state: Float[Array | np.ndarray, "s"]
    from_data: Float[Array | np.ndarray, "s"]
    extrapolation: Float[Array | np.ndarray, "s"]  # how far the data is led on past the last one


def plan(levels: noise_levels.Levels) -> Plan:
    """The steps of algorithm 2 of arXiv 2211.01095, in float64; h = steps of log(alpha / sigma).

    Where h is infinite, at pure noise and without noise, a step is of order 1: the first one, the
    one after pure noise and the one to sigma = 0.
    """
    alpha, sigma = levels.alpha, levels.sigma
    from_state = sigma[1:] / sigma[:-1]
    with np.errstate(divide="ignore"):
        h = np.diff(np.log(alpha) - np.log(sigma))
    is_whole = np.isfinite(h[1:]) & np.isfinite(h[:-1])
    ratio = np.divide(h[1:], 2 * h[:-1], out=np.zeros_like(h[1:]), where=is_whole)
    return Plan(
        levels.times,
        from_state,
        alpha[1:] - from_state * alpha[:-1],  # alpha (1 - exp(-h)), which is finite everywhere
        np.append(0.0, ratio),
    )


def sample(
    denoise: interface.Denoise, noise: Float[Array, "b *n"], plan: Plan
) -> Float[Array, "b *n"]:
    """Data out of noise, one call a step.

    The states are float32, or float64 where the noise is.
    """
    states = noise.astype(interpolants.at_least_float32(noise))

    def step(carry, knobs):
        states, last_data = carry
        data = ode.at_time(denoise, states, knobs.times)
        ahead = data + knobs.extrapolation * (data - last_data)
        return (knobs.from_state * states + knobs.from_data * ahead, data), None

    knobs = jax.tree.map(lambda value: jnp.asarray(value, states.dtype), plan)
    (states, _), _ = jax.lax.scan(step, (states, jnp.zeros_like(states)), knobs)
    return states
