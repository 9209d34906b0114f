"""Classifier-free guidance, and how its scale changes over the steps of a sampler."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from resgen_jax.core import build, errors
from resgen_jax.processes import interpolants

# From (num_steps, guidance_scale) to the scale of every step.
Schedule = Callable[[int, float], Float[np.ndarray, "s"]]


def guide(
    conditional: Float[Array, "..."],
    unconditional: Float[Array, "..."],
    guidance_scale: float | Float[Array, ""],
) -> Float[Array, "..."]:
    """unconditional + s (conditional - unconditional): 1 is off, above 1 sharpens.

    Written from the conditional side, so that a scale of 1 gives it back exactly. In float32: the
    scale multiplies what rounding did to the difference, too.
    """
    wide = jnp.float64 if conditional.dtype == jnp.float64 else jnp.float32
    conditional, unconditional = conditional.astype(wide), unconditional.astype(wide)
    return conditional + (guidance_scale - 1) * (conditional - unconditional)


def interleave(
    conditional: Shaped[Array, "b ..."], unconditional: Shaped[Array, "b ..."]
) -> Shaped[Array, "two_b ..."]:
    """The rows of both in turn, for one network call on all of them.

    Where devices hold a share of the rows each, both rows of an example stay where it lies; one
    batch behind the other would move half of them.
    """
    pairs = jnp.stack([conditional, unconditional], axis=1)
    return pairs.reshape(-1, *conditional.shape[1:])


def separate(
    both: Shaped[Array, "two_b ..."],
) -> tuple[Shaped[Array, "b ..."], Shaped[Array, "b ..."]]:
    """The conditional and the unconditional rows of `interleave`."""
    pairs = both.reshape(-1, 2, *both.shape[1:])
    return pairs[:, 0], pairs[:, 1]


def constant(num_steps: int, guidance_scale: float) -> Float[np.ndarray, "s"]:
    """The same scale at every step."""
    return np.full_like(_progress(num_steps), guidance_scale, np.float32)


def linear(num_steps: int, guidance_scale: float) -> Float[np.ndarray, "s"]:
    """From 1 (off) at the first step to the full scale at the last."""
    return (1 + (guidance_scale - 1) * _progress(num_steps)).astype(np.float32)


def power_cosine(
    num_steps: int, guidance_scale: float, power: float = 1.0
) -> Float[np.ndarray, "s"]:
    """1 + (scale - 1) (1 - cos(pi progress^power)) / 2; a higher power rises later."""
    rise = (1 - np.cos(np.pi * _progress(num_steps) ** power)) / 2
    return (1 + (guidance_scale - 1) * rise).astype(np.float32)


def interval(scales: Float[np.ndarray, "s"], low: float, high: float) -> Float[np.ndarray, "s"]:
    """The scales of the steps whose middle lies in [low, high] of the way, 1 (off) elsewhere."""
    check_interval("guidance interval", low, high)
    return np.where(is_within(len(scales), low, high), scales, np.float32(1))


def mask_interval(
    scales: Float[np.ndarray, "s"], mask_ratio: Float[np.ndarray, "s"], low: float, high: float
) -> Float[np.ndarray, "s"]:
    """The scales of the steps that begin with a share in [low, high] masked, 1 (off) elsewhere.

    The interval of noise levels of arXiv 2404.07724, whatever the schedule of steps.
    """
    check_interval("guidance interval of mask ratios", low, high)
    return np.where((mask_ratio >= low) & (mask_ratio <= high), scales, np.float32(1))


def is_within(num_steps: int, low: float, high: float) -> Bool[np.ndarray, "s"]:
    """The steps whose middle lies in [low, high] of the way."""
    middle = (np.arange(num_steps) + 0.5) / num_steps
    return (middle >= low) & (middle <= high)


def guided_in_time(
    pair: Callable[[Array, Array], tuple[Array, Array]],
    guidance_scale: float | Float[Array, ""],
    low: float = 0.0,
    high: float = 1.0,
) -> Callable[[Array, Array], Array]:
    """The guided velocity of latents, of a function that gives the conditional and the other.

    Both get states and times. Guidance acts where low <= time <= high, and is off elsewhere; it may
    as well lead any other prediction, as noise. Raises UserError for what is no part of [0, 1].
    """
    check_interval("guidance interval of times", low, high)

    def velocity(states: Float[Array, "b *n"], times: Float[Array, "b"]) -> Float[Array, "b *n"]:
        wide = interpolants.at_least_float32(times)
        is_on = (times >= low) & (times <= high)
        scales = jnp.where(is_on, jnp.asarray(guidance_scale, wide), 1)
        return jax.vmap(guide)(*pair(states, times), scales)

    return velocity


def check_interval(name: str, low: float, high: float) -> None:
    """Raises UserError for what is no part of [0, 1]."""
    if not 0 <= low < high <= 1:
        raise errors.UserError(
            f"{name} [{low}, {high}]; expected 0 <= low < high <= 1, [0, 1] for all"
        )


SCHEDULES = {"constant": constant, "linear": linear, "power_cosine": power_cosine}


def by_name(name: str) -> Schedule:
    """`constant`, `linear`, `power_cosine` or `power_cosine:POWER`; UserError for another name."""
    kind, _, argument = name.partition(":")
    if kind not in SCHEDULES:
        raise errors.UserError(f"guidance schedule {name!r}: {build.nearest(kind, SCHEDULES)}")
    if not argument:
        return SCHEDULES[kind]
    try:
        power = float(argument)
    except ValueError:
        power = 0.0
    if kind != "power_cosine" or power <= 0:
        raise errors.UserError(
            f"guidance schedule {name!r}; only power_cosine takes a number, above 0, "
            "as in power_cosine:2"
        )
    return functools.partial(power_cosine, power=power)


def _progress(num_steps: int) -> np.ndarray:
    """0 at the first step, 1 at the last; a single step is the last."""
    if num_steps < 1:
        raise errors.UserError(f"num_steps is {num_steps}; expected at least 1")
    return np.arange(num_steps) / (num_steps - 1) if num_steps > 1 else np.ones(1)
