"""From the network of SiT and DiT to what samplers ask for: guided predictions, and their data."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from resgen_jax.core import spaces
from resgen_jax.generators import diffusion_transformer
from resgen_jax.nn import functional
from resgen_jax.processes import interpolants, noise_levels
from resgen_jax.samplers import guidance, interface

PyTree = Any
# From the times of rows to their guidance scales.
ScaleAt = Callable[[Float[Array, "b"]], Float[Array, "b"]]
# From states and times to what a network says of them.
Predict = Callable[[Float[Array, "b l c"], Float[Array, "b"]], Float[Array, "b l e"]]


def everywhere(guidance_scale: float | Float[Array, ""]) -> ScaleAt:
    """The same scale at all times; 1 is off."""
    return lambda times: jnp.full_like(times, guidance_scale)


def within(guidance_scale: float | Float[Array, ""], low: float, high: float) -> ScaleAt:
    """The scale where low <= time <= high, 1 elsewhere; UserError for no part of [0, 1]."""
    guidance.check_interval("guidance interval of times", low, high)

    def scale_at(times: Float[Array, "b"]) -> Float[Array, "b"]:
        wide = interpolants.at_least_float32(times)
        return jnp.where((times >= low) & (times <= high), jnp.asarray(guidance_scale, wide), 1)

    return scale_at


def guided(
    network: functional.Network,
    params: PyTree,
    space: spaces.Space,
    labels: Int[Array, "b"],
    scale_at: ScaleAt,
    is_valid: Bool[Array, "b l"] | None = None,
) -> Predict:
    """What the network says of rows of these labels, guided away from what it says of no class.

    Guidance acts on all channels; a share of the variance is that of the labels, as in DiT's code.
    Both come from one call on twice the rows; where no row is guided, none is made twice.
    """
    channels, nobody = space.latents.channels, jnp.full_like(labels, space.num_classes)

    def alone(states, times, scales):
        del scales
        return network.apply(params, states, times, labels, is_valid)

    def both(states, times, scales):
        outputs = network.apply(
            params,
            guidance.interleave(states, states),
            guidance.interleave(times, times),
            guidance.interleave(labels, nobody),
            None if is_valid is None else guidance.interleave(is_valid, is_valid),
        )
        own, other = guidance.separate(outputs)
        led = jax.vmap(guidance.guide)(own[..., :channels], other[..., :channels], scales)
        return jnp.concatenate([led, own[..., channels:]], axis=-1)

    def predict(states: Float[Array, "b l c"], times: Float[Array, "b"]) -> Float[Array, "b l e"]:
        scales = scale_at(times)
        return jax.lax.cond(jnp.all(scales == 1), alone, both, states, times, scales)

    return predict


def denoise_with_share(
    predict: Predict, schedule: noise_levels.Schedule
) -> interface.DenoiseWithShare:
    """What `samplers.ancestral` asks for, of a network that predicts noise and variance."""

    def denoise(
        states: Float[Array, "b l c"], times: Float[Array, "b"]
    ) -> tuple[Float[Array, "b l c"], Float[Array, "b l c"]]:
        noise, share = diffusion_transformer.split_variance(predict(states, times))
        return noise_levels.data_of_noise(noise, states, times, schedule), share

    return denoise
