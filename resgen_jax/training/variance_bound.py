"""The variational bound that teaches a diffusion the variance of its steps (arXiv 2102.09672).

The step from a state to the one before it is N(mean, variance) of the network against the true
posterior, which knows the data. Only the variance learns by it: the mean is held (section 3.1).
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from resgen_jax.processes import noise_levels
from resgen_jax.samplers import ancestral


class Steps(NamedTuple):
    """Of each step of a schedule, from the least noise to the most."""

    from_noise: Float[np.ndarray, "s"]  # so much of an error of the noise is one of the mean
    log_least: Float[np.ndarray, "s"]  # log variance if the data is known
    log_most: Float[np.ndarray, "s"]  # and if it is N(0, 1): beta


@functools.cache
def steps_of(num_steps: int) -> Steps:
    """Those of `noise_levels.squared_cosine`; two steps or more.

    The least variance of the first is 0; that of the second stands there, as in DiT's code.
    """
    schedule = noise_levels.squared_cosine(num_steps)
    falling = ancestral.plan(noise_levels.respaced(schedule, num_steps))
    from_data, log_least, log_most = (
        np.asarray(each)[::-1] for each in (falling.from_data, falling.log_least, falling.log_most)
    )
    # Of a state that is known, an error of the noise is one of the data, sigma / alpha as large.
    from_noise = from_data * schedule.sigma / schedule.alpha
    return Steps(from_noise, np.append(log_least[1], log_least[1:]), log_most)


def bits(
    times: Float[Array, "b"],
    noise: Float[Array, "b l c"],
    predicted: Float[Array, "b l c"],
    share: Float[Array, "b l c"],
    steps: Steps,
) -> Float[Array, "b l"]:
    """Bits of a number in each position at this step, of which noise and `share` were predicted.

    KL(true posterior | network's), and at the first step the density of the data. Public code takes
    there the bins of an image's 256 values, but latents have none; no sampler draws at that step.
    `share` is that of `samplers.ancestral`. No gradient goes to the predicted noise.
    """
    from_noise, log_least, log_most = (
        jnp.asarray(table, jnp.float32)[times.astype(jnp.int32)][:, None, None] for table in steps
    )
    log_variance = share * log_most + (1 - share) * log_least
    apart = from_noise * (jax.lax.stop_gradient(predicted) - noise)
    squared = apart**2 * jnp.exp(-log_variance)
    ratio = log_least - log_variance
    divergence = 0.5 * (jnp.exp(ratio) - 1 - ratio + squared)
    density = 0.5 * (math.log(2 * math.pi) + log_variance + squared)
    nats = jnp.where(times[:, None, None] == 0, density, divergence)
    return jnp.mean(nats, axis=-1) / math.log(2)
