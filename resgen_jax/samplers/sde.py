"""From noise to data along a velocity with fresh noise on the way: SiT's reverse SDE."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from resgen_jax.core import keys as random_keys
from resgen_jax.processes import interpolants, noise_levels, predictions
from resgen_jax.samplers import interface, ode

# From the time to the square of the diffusion coefficient, g^2.
Diffusion = Callable[[Float[Array, "s"]], Float[Array, "s"]]


def twice_time(times: Float[Array, "s"]) -> Float[Array, "s"]:
    """g^2 = 2 t, of the published samplers."""
    return 2 * times


def euler_maruyama(
    keys: Key[Array, "b"],
    velocity: interface.Velocity,
    noise: Float[Array, "b *n"],
    times: Float[Array | np.ndarray, "s_and_1"],
    path: interpolants.Path,
    diffusion: Diffusion = twice_time,
) -> Float[Array, "b *n"]:
    """Data out of noise by Euler-Maruyama steps on `times` (`time_grids.uniform_until`).

    The drift is v - g^2 score / 2 and each step adds g sqrt(|dt|) N(0, 1), but the last none. Every
    draw comes from the example's own key and the step. With a diffusion of 0 this is `ode.euler`.
    The states are float32, or float64 where the noise is. Guidance belongs into the velocity: the
    drift is affine in it. Raises UserError for times that do not fall from at most 1 to at least 0.
    """
    noise_levels.check_falling(times)
    states = noise.astype(interpolants.at_least_float32(noise))
    grid = jnp.asarray(times, states.dtype)
    squared = diffusion(grid[:-1])
    is_last = jnp.arange(len(squared)) == len(squared) - 1

    def step(states, inputs):
        index, time, next_time, squared, is_last = inputs
        flow = ode.at_time(velocity, states, time)
        score = predictions.convert(
            flow,
            states,
            jnp.full(states.shape[:1], time),
            path,
            predictions.VELOCITY,
            predictions.SCORE,
        )
        drift = flow - squared / 2 * score
        deviation = jnp.where(is_last, 0, jnp.sqrt(squared * (time - next_time)))
        fresh = deviation * draw(keys, index, states)
        return states + (next_time - time) * drift + fresh, None

    inputs = jnp.arange(len(squared)), grid[:-1], grid[1:], squared, is_last
    return jax.lax.scan(step, states, inputs)[0]


def draw(keys: Key[Array, "b"], step: Array, states: Float[Array, "b *n"]) -> Float[Array, "b *n"]:
    """Standard normal numbers of one step, each example's from its own key."""

    def of_one(key):
        return jax.random.normal(random_keys.step_key(key, step), states.shape[1:], states.dtype)

    return jax.vmap(of_one)(keys)
