"""Hiding revealed codes again, so that a sampler can correct them (ReMDM, arXiv 2503.00307).

ReMDM hides each revealed code with probability sigma and reveals as many more, so that the share
that is masked after a step stays the schedule's. Here both are whole counts of cells, drawn without
replacement: after each step exactly as many are masked as without remasking.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from resgen_jax.core import errors
from resgen_jax.samplers import order

Counts = Int[np.ndarray, "s"] | Int[np.ndarray, "s b"]
# From the counts after each step, how many tokens there are, and a rate to the most that each step
# hides again.
Amount = Callable[[Counts, Any, float], Counts]
# From keys and the confidence that each code had when it was revealed to scores; the highest hide.
Score = Callable[[Key[Array, "b"], Float[Array, "b l q"]], Float[Array, "b l q"]]
# From the cells chosen to be revealed, those chosen to be hidden, what is masked and what may be
# hidden to the cells that are revealed and those that are hidden.
Exchange = Callable[[Array, Array, Array, Array], tuple[Array, Array]]


class Remask(NamedTuple):
    """What a sampling loop hides again: how many at each step, which, and at which levels."""

    num_remasked: Int[Array | np.ndarray, "s"] | Int[Array | np.ndarray, "s b"]
    score: Score
    exchange: Exchange


def most(num_masked: Counts, num_tokens: Any) -> Counts:
    """The most that a step can hide and still end at its count: ReMDM's bound of sigma.

    sigma_max = min(1, (1 - alpha_s) / alpha_t), times the revealed: at the last step it is 0.
    """
    return np.minimum(revealed(num_masked, num_tokens), num_masked)


def revealed(num_masked: Counts, num_tokens: Any) -> Counts:
    """How many codes are known before each step, of those that were masked at the start."""
    first = np.broadcast_to(num_tokens, num_masked[:1].shape)
    return num_tokens - np.concatenate([first, num_masked[:-1]])


def cap(num_masked: Counts, num_tokens: Any, rate: float) -> Counts:
    """ReMDM-cap: this share of what is revealed, at most what the step allows."""
    wanted = np.rint(rate * revealed(num_masked, num_tokens)).astype(num_masked.dtype)
    return np.minimum(wanted, most(num_masked, num_tokens))


def rescale(num_masked: Counts, num_tokens: Any, rate: float) -> Counts:
    """ReMDM-rescale: this share of the most that the step allows."""
    return np.rint(rate * most(num_masked, num_tokens)).astype(num_masked.dtype)


def at_random(keys: Key[Array, "b"], surety: Float[Array, "b l q"]) -> Float[Array, "b l q"]:
    """All revealed codes alike."""
    return order.at_random(keys, surety, 0.0)


def least_sure(keys: Key[Array, "b"], surety: Float[Array, "b l q"]) -> Float[Array, "b l q"]:
    """ReMDM-conf: drawn by softmax(-confidence) of what each code had when it was revealed.

    With Gumbel noise the highest scores are such draws without replacement. Our confidences are
    log-probabilities, ReMDM's probabilities: doubtful codes are preferred more strongly here.
    """
    return order.by_confidence(keys, -surety, 1.0)


def levelwise(reveal_pick: Any, hide_pick: Any) -> Exchange:
    """At each position the difference of both counts decides: so the mask stays one of training.

    Hiding the deepest revealed level and revealing the shallowest masked one cancel: they are the
    same. The counts of a position are then those of remasking cell by cell, in law.
    """

    def exchange(
        to_reveal: Bool[Array, "b l q"],
        to_hide: Bool[Array, "b l q"],
        is_masked: Bool[Array, "b l q"],
        may_hide: Bool[Array, "b l q"],
    ) -> tuple[Bool[Array, "b l q"], Bool[Array, "b l q"]]:
        num_both = jnp.minimum(
            jnp.sum(to_reveal, axis=-1, keepdims=True), jnp.sum(to_hide, axis=-1, keepdims=True)
        )
        to_reveal = to_reveal & (jnp.cumsum(to_reveal, axis=-1) > num_both)
        to_hide = to_hide & (jnp.cumsum(to_hide, axis=-1) > num_both)
        return reveal_pick(to_reveal, is_masked), hide_pick(to_hide, may_hide)

    return exchange


def as_chosen(
    to_reveal: Bool[Array, "b l q"],
    to_hide: Bool[Array, "b l q"],
    is_masked: Bool[Array, "b l q"],
    may_hide: Bool[Array, "b l q"],
) -> tuple[Bool[Array, "b l q"], Bool[Array, "b l q"]]:
    """Exactly the chosen cells, whatever their level."""
    return to_reveal & is_masked, to_hide & may_hide


def loop(num_masked_of: Callable[[int], Counts], num_steps: int, is_in: np.ndarray) -> Counts:
    """ReMDM-loop: the counts of a schedule that stands still at the steps that `is_in` names.

    `num_masked_of` gives the counts of so many steps. Raises UserError where nothing is revealed
    before these steps, or they are the last.
    """
    first, count = int(np.argmax(is_in)), int(np.sum(is_in))
    if not count or first == 0 or first + count == num_steps:
        raise errors.UserError(
            f"sampler.remask 'loop' with sampler.remask_interval around steps {first + 1} to "
            f"{first + count} of {num_steps}; expected at least one step before and one after, "
            "e.g. --remask_interval=0.4,0.8, and at least one within"
        )
    counts = num_masked_of(num_steps - count)
    standing = np.repeat(counts[first - 1 : first], count, axis=0)
    return np.concatenate([counts[:first], standing, counts[first:]])


class Kind(NamedTuple):
    """How many are hidden again and which, and whether the schedule stands still meanwhile."""

    amount: Amount
    score: Score = at_random
    stands_still: bool = False


KINDS = {
    "cap": Kind(cap),
    "rescale": Kind(rescale),
    "confidence": Kind(rescale, least_sure),
    "loop": Kind(cap, stands_still=True),
}
# The exchange that goes with each way of masking in training (`rvq_masking.MASKS`).
EXCHANGES: dict[str, Exchange] = {
    "coarse_first": levelwise(order.shallowest, order.deepest),
    "fine_first": levelwise(order.deepest, order.shallowest),
    "indep": as_chosen,
}
