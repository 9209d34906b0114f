"""Ancestral sampling of a diffusion (DDPM), at the levels of any schedule or path."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from resgen_jax.processes import interpolants, noise_levels
from resgen_jax.samplers import interface, sde


class Plan(NamedTuple):
    """Numbers of each step; the mean is `from_state` states + `from_data` data."""

    times: Float[Array | np.ndarray, "s"]  # what the network is told
    from_state: Float[Array | np.ndarray, "s"]
    from_data: Float[Array | np.ndarray, "s"]
    log_least: Float[Array | np.ndarray, "s"]  # log variance if the data is known
    log_most: Float[Array | np.ndarray, "s"]  # and if it is N(0, 1), on a schedule: beta


def plan(levels: noise_levels.Levels) -> Plan:
    """The posterior q(next | state, data) from each level to the next, in float64.

    Equations 6 and 7 of DDPM (arXiv 2006.11239), for any alpha and sigma (arXiv 2107.00630, A.2).
    """
    alpha, sigma = levels.alpha, levels.sigma
    ratio = alpha[:-1] / alpha[1:]
    added = sigma[:-1] ** 2 - (ratio * sigma[1:]) ** 2  # from the next level back to this one
    least = added * (sigma[1:] / sigma[:-1]) ** 2
    # The last step, whose variance is 0, draws no noise; its logarithm is never used.
    least = np.where(least > 0, least, 1.0)
    return Plan(
        levels.times,
        ratio * (sigma[1:] / sigma[:-1]) ** 2,
        alpha[1:] * added / sigma[:-1] ** 2,
        np.log(least),
        np.log(added),
    )


def sample(
    keys: Key[Array, "b"],
    denoise: interface.DenoiseWithShare,
    noise: Float[Array, "b *n"],
    plan: Plan,
) -> Float[Array, "b *n"]:
    """Data out of noise, one draw from the posterior a step, without noise at the last.

    `denoise` gives the data and a share from 0 to 1: the log variance lies so far between its least
    and its most, as a learned one does (arXiv 2102.09672, equation 15). The data is not clipped.
    Every draw comes from the example's own key and the step. The states are float32, or float64
    where the noise is.
    """
    states = noise.astype(interpolants.at_least_float32(noise))
    wide = states.dtype
    num_steps = len(plan.times)

    def step(states, inputs):
        index, knobs = inputs
        times = jnp.full(states.shape[:1], knobs.times)
        data, share = (value.astype(wide) for value in denoise(states, times))
        mean = knobs.from_state * states + knobs.from_data * data
        log_variance = share * knobs.log_most + (1 - share) * knobs.log_least
        fresh = jnp.exp(log_variance / 2) * sde.draw(keys, index, states)
        return mean + jnp.where(index == num_steps - 1, 0, fresh), None

    knobs = jax.tree.map(lambda value: jnp.asarray(value, wide), plan)
    return jax.lax.scan(step, states, (jnp.arange(num_steps), knobs))[0]


def with_share(denoise: interface.Denoise, share: float) -> interface.DenoiseWithShare:
    """A prediction of data alone with a fixed share: 0 for the least variance, 1 for beta."""

    def denoise_with_share(
        states: Float[Array, "b *n"], times: Float[Array, "b"]
    ) -> tuple[Float[Array, "b *n"], Float[Array, "b *n"]]:
        data = denoise(states, times)
        return data, jnp.full_like(data, share)

    return denoise_with_share
