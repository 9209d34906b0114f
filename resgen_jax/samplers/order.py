"""Which masked cells are revealed first, at which levels, and how the noise in that decays."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from resgen_jax.core import build, errors
from resgen_jax.samplers import halton, interface

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
    """All masked cells alike: exactly the posterior of the masking process, whatever the noise.

    The number hidden at each position is then multivariate hypergeometric, given how many are left.
    """
    del order_noise
    return jax.vmap(lambda key: jax.random.uniform(key, confidence.shape[1:], confidence.dtype))(
        keys
    )


def as_scored(order: interface.Order) -> interface.Order:
    """The order as it is: levels compete by their scores."""
    return order


def levels_in_turn(order: interface.Order) -> interface.Order:
    """Every cell of a level before any of the next one, each level in the given order.

    By ranks, which are whole numbers: a level's offset cannot blur the scores within it.
    """

    def score(
        keys: Key[Array, "b"],
        confidence: Float[Array, "b l q"],
        order_noise: Float[Array, ""],
    ) -> Float[Array, "b l q"]:
        scores = order(keys, confidence, order_noise)
        place = jnp.argsort(jnp.argsort(-scores, axis=1, stable=True), axis=1)  # 0 is the best
        length, depth = scores.shape[1:]
        return -(place + length * jnp.arange(depth)[None, None]).astype(scores.dtype)

    return score


def shallowest(
    is_chosen: Bool[Array, "b l q"], is_masked: Bool[Array, "b l q"]
) -> Bool[Array, "b l q"]:
    """So many of a position's shallowest masked levels: what is hidden stays the deepest."""
    num_chosen = jnp.sum(is_chosen, axis=-1, keepdims=True)
    return is_masked & (jnp.cumsum(is_masked, axis=-1) <= num_chosen)


def deepest(
    is_chosen: Bool[Array, "b l q"], is_masked: Bool[Array, "b l q"]
) -> Bool[Array, "b l q"]:
    """So many of a position's deepest masked levels: what is hidden stays the shallowest."""
    flipped = shallowest(jnp.flip(is_chosen, axis=-1), jnp.flip(is_masked, axis=-1))
    return jnp.flip(flipped, axis=-1)


def as_chosen(
    is_chosen: Bool[Array, "b l q"], is_masked: Bool[Array, "b l q"]
) -> Bool[Array, "b l q"]:
    """Exactly the chosen cells, whatever their level."""
    return is_chosen & is_masked


def linear_decay(num_steps: int, order_noise: float) -> Float[np.ndarray, "s"]:
    """Noise that falls in equal steps and is 0 at the last, as in MaskGIT."""
    return (order_noise * (1 - np.arange(1, num_steps + 1) / num_steps)).astype(np.float32)


def constant(num_steps: int, order_noise: float) -> Float[np.ndarray, "s"]:
    """The same noise at every step."""
    return np.full(num_steps, order_noise, np.float32)


# From the keys of the examples, the layout of their positions and the depth to the order.
Make = Callable[[Key[Array, "b"], tuple[int, int], int], interface.Order]
ORDERS: dict[str, Make] = {
    "confidence": lambda keys, layout, depth: by_confidence,
    "hypergeometric": lambda keys, layout, depth: at_random,
    "halton": halton.positions,
    "halton_depth": halton.cells,
}
# The rule that goes with each way of masking in training (`processes.masks`).
PICKS = {
    "coarse_first": shallowest,
    "fine_first": deepest,
    "indep": as_chosen,
    "level_by_level": as_chosen,
}
# What becomes of an order under those masks; all others leave it `as_scored`.
TURNS = {"level_by_level": levels_in_turn}
DECAYS = {"linear": linear_decay, "constant": constant}


def decay_by_name(name: str) -> Decay:
    """A decay of the order noise; raises UserError for an unknown name."""
    if name not in DECAYS:
        raise errors.UserError(f"order noise decay {name!r}: {build.nearest(name, DECAYS)}")
    return DECAYS[name]
