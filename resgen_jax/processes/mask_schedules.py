"""How much is masked: from the share of the way gone to the share masked, and to whole counts."""

import functools
import re
from collections.abc import Callable
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.core import build, errors

Ratio = Float[Array | np.ndarray, "..."]
# gamma of the papers: decreasing, 1 at 0 and 0 at 1, both exactly.
Schedule = Callable[[Ratio], Ratio]

# What float64 leaves of a count that should be whole.
ROUNDING = 1e-6


def cosine(ratio: Ratio) -> Ratio:
    """cos(pi r / 2), the schedule of MaskGIT; mean mask ratio 0.637."""
    # As a sine, which is exactly 0 at r = 1 in floating point; the cosine is not.
    return _module(ratio).sin(np.pi / 2 * (1 - ratio))


def linear(ratio: Ratio) -> Ratio:
    """1 - r; mean mask ratio 0.5."""
    return 1 - ratio


def arccos(ratio: Ratio) -> Ratio:
    """arccos(r) / arccos(0), the inverse of `cosine`; mean mask ratio 0.637."""
    module = _module(ratio)
    return module.arccos(ratio) / module.arccos(module.zeros_like(ratio))


def power(exponent: float) -> Schedule:
    """gamma(r) = (1 - r^p)^(1/p), its own inverse; p = 2 is the circle, higher masks more."""
    if not exponent > 0:
        raise errors.UserError(f"the exponent of a pow schedule is {exponent}; expected above 0")
    return functools.partial(_power, exponent=exponent)


def _power(ratio: Ratio, *, exponent: float) -> Ratio:
    return (1 - ratio**exponent) ** (1 / exponent)


SCHEDULES = {"cosine": cosine, "linear": linear, "arccos": arccos}


def by_name(name: str) -> Schedule:
    """`cosine`, `linear`, `arccos`, `pow2`, `pow:2.5`; raises UserError for anything else."""
    if match := re.fullmatch(r"pow:?(\d+(?:\.\d+)?)", name):
        return power(float(match[1]))
    if name not in SCHEDULES:
        hint = build.nearest(name, [*SCHEDULES, "pow2", "pow3", "pow:2.5"])
        raise errors.UserError(f"mask schedule {name!r} is unknown; {hint}")
    return SCHEDULES[name]


def draw_num_masked(
    key: PRNGKeyArray, schedule: Schedule, max_rate: float, num_cells: Int[Array, ""]
) -> Int[Array, ""]:
    """How many of so many cells a training mask hides: ceil(gamma(r) N), at least 1.

    r ~ U[0, max_rate). Raises UserError for a `max_rate` outside (0, 1].
    """
    if not 0 < max_rate <= 1:
        raise errors.UserError(f"max_rate is {max_rate}; expected above 0 and at most 1")
    ratio = schedule(max_rate * jax.random.uniform(key))
    num_masked = jnp.ceil(ratio * num_cells.astype(jnp.float32)).astype(jnp.int32)
    return jnp.clip(num_masked, 1, num_cells)


def num_masked_per_step(
    schedule: Schedule, num_steps: int, num_tokens: int
) -> Int[np.ndarray, "s"]:
    """Tokens still masked after each step: strictly decreasing, 0 at the end.

    ceil(gamma(t / T) N), lowered where needed so that every step reveals at least one token and
    raised so that every later one still can. Raises UserError for more steps than tokens.
    """
    return num_masked_per_example(schedule, num_steps, np.array([num_tokens]))[:, 0]


def num_masked_per_example(
    schedule: Schedule, num_steps: int, num_tokens: Int[np.ndarray, "b"]
) -> Int[np.ndarray, "s b"]:
    """The same for examples that start with different numbers of masked tokens.

    An example with fewer tokens than steps reveals none in some of them. Raises UserError when
    that holds for all examples.
    """
    most = int(np.max(num_tokens))
    if not 1 <= num_steps <= most:
        raise errors.UserError(
            f"{num_steps} sampling steps for {most} masked tokens; expected 1 to {most} steps"
        )
    time = np.arange(1, num_steps + 1)
    ratio = np.asarray(schedule(time / num_steps), np.float64)
    wanted = np.ceil(ratio[:, None] * num_tokens[None, :] - ROUNDING).astype(np.int64)
    # With t added, "one fewer at every step" turns into "never more than before".
    lifted = np.maximum(wanted, (num_steps - time)[:, None]) + time[:, None]
    lifted = np.minimum.accumulate(np.concatenate([num_tokens[None, :], lifted]), axis=0)
    strict = lifted[1:] - time[:, None]
    return np.where(num_tokens[None, :] >= num_steps, strict, wanted)


def _module(array: Ratio) -> ModuleType:
    """NumPy for NumPy arrays, so that whole counts are made in float64."""
    return np if isinstance(array, np.ndarray) else jnp
