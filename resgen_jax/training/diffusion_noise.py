"""Noise for training diffusion on latents, and what a network is to tell of them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from resgen_jax.processes import interpolants, noise_levels, predictions


class Noised(NamedTuple):
    """Noisy latents, and the target of each number that is predicted of them."""

    states: Float[Array, "b l c"]
    times: Float[Array, "b"]  # as the network is told them
    target: Float[Array, "b l c"]
    factor: Float[Array, "b"]  # of a prediction before it is compared with the target


# From one key an example, its latents and its noise.
Process = Callable[[Key[Array, "b"], Float[Array, "b l c"], Float[Array, "b l c"]], Noised]


def on_path(
    path: interpolants.Path, time_draw: interpolants.TimeDraw, prediction: str = "velocity"
) -> Process:
    """At times of a path, as SiT is trained (arXiv 2401.08740, section 2.2).

    A score grows without bound towards the data. Times sigma it is the noise but for the sign: so
    |sigma score + noise|^2 is what counts. Raises UserError for an unknown prediction.
    """
    kind = predictions.by_name(prediction)

    def draw(row_keys, latents, noise):
        times = jax.vmap(lambda key: time_draw(key, 1, path)[0])(row_keys)
        states = interpolants.mix(latents, noise, times, path)
        if prediction == "score":
            return Noised(states, times, -noise, jnp.asarray(path.at(times).sigma))
        target = predictions.target(latents, noise, times, path, kind)
        return Noised(states, times, target, jnp.ones_like(times))

    return draw


def on_schedule(schedule: noise_levels.Schedule) -> Process:
    """At even steps of a schedule, as DiT is trained: to predict the noise (arXiv 2006.11239)."""

    def draw(row_keys, latents, noise):
        most = len(schedule.alpha)
        steps = jax.vmap(lambda key: jax.random.randint(key, (), 0, most))(row_keys)
        states = noise_levels.mix(latents, noise, steps, schedule)
        times = steps.astype(jnp.float32)
        return Noised(states, times, noise, jnp.ones_like(times))

    return draw
