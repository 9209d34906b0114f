"""Which masked cells are revealed first, and how the noise in that choice decays."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from resgen_jax.core import build, errors

# From (num_steps, order_noise) to the noise of every step.
Decay = Callable[[int, float], Float[np.ndarray, "s"]]


def by_confidence(
    keys: Key[Array, "b"], confidence: Float[Array, "b l q"], order_noise: float | Float[Array, ""]
) -> Float[Array, "b l q"]:
    """Confidence plus scaled Gumbel noise, drawn for each cell alone."""
    noise = jax.vmap(lambda key: jax.random.gumbel(key, confidence.shape[1:], confidence.dtype))
    return confidence + order_noise * noise(keys)


def at_random(
    keys: Key[Array, "b"], confidence: Float[Array, "b l q"], order_noise: float | Float[Array, ""]
) -> Float[Array, "b l q"]:
    """All masked cells alike: exactly the posterior of the masking process, whatever the noise."""
    del order_noise
    return jax.vmap(lambda key: jax.random.uniform(key, confidence.shape[1:], confidence.dtype))(
        keys
    )


def linear_decay(num_steps: int, order_noise: float) -> Float[np.ndarray, "s"]:
    """Noise that falls in equal steps and is 0 at the last, as in MaskGIT."""
    return np.float32(order_noise * (1 - np.arange(1, num_steps + 1) / num_steps))


def constant(num_steps: int, order_noise: float) -> Float[np.ndarray, "s"]:
    """The same noise at every step."""
    return np.full(num_steps, order_noise, np.float32)


ORDERS = {"by_confidence": by_confidence, "at_random": at_random}
DECAYS = {"linear": linear_decay, "constant": constant}


def decay_by_name(name: str) -> Decay:
    """A decay of the order noise; raises UserError for an unknown name."""
    if name not in DECAYS:
        raise errors.UserError(f"order noise decay {name!r}: {build.nearest(name, DECAYS)}")
    return DECAYS[name]
