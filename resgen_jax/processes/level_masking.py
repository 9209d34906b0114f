"""Masking one level at a time, as SoundStorm (2305.09636) and MAGNeT (2401.04577) do.

All coarser levels are visible everywhere and all finer ones hidden; of the level itself, a share of
the positions is. A mask teaches the codes of that level alone.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from resgen_jax.core import errors
from resgen_jax.core import keys as random_keys
from resgen_jax.processes import mask_schedules, rvq_masking


def sample_mask(
    keys: Key[Array, "b"],
    schedule: mask_schedules.Schedule,
    length: int,
    depth: int,
    max_rate: float = 1.0,
    is_valid: Bool[Array, "b l"] | None = None,
) -> Bool[Array, "b l q"]:
    """Training masks, one key each: a level drawn evenly, then r ~ U[0, max_rate).

    n = ceil(gamma(r) L) of that level's codes are hidden, at least 1, at positions chosen evenly
    without replacement. Padding, where not `is_valid`, is neither hidden nor counted in L.
    """

    def one(key, is_valid):
        use = random_keys.named_keys(key, "level", "rate", "cells")
        level = jax.random.randint(use["level"], (), 0, depth)
        num_positions = jnp.int32(length) if is_valid is None else jnp.sum(is_valid)
        num_masked = mask_schedules.draw_num_masked(use["rate"], schedule, max_rate, num_positions)
        is_hidden = rvq_masking.sample_cells(use["cells"], num_masked, length, 1, is_valid)
        number = jnp.arange(depth)[None]
        is_finer = number > level
        if is_valid is not None:
            is_finer = is_finer & is_valid[:, None]
        return is_finer | (is_hidden & (number == level))

    return jax.vmap(one)(keys, is_valid)


def is_current(is_masked: Bool[Array, "b l q"]) -> Bool[Array, "b l q"]:
    """What a mask teaches: the hidden cells of the coarsest level that is not all known."""
    is_open = jnp.any(is_masked, axis=1, keepdims=True)
    return is_masked & (jnp.cumsum(is_open, axis=-1) == 1)


def num_masked_per_example(
    schedule: mask_schedules.Schedule,
    steps_per_level: Sequence[int],
    num_tokens: Int[np.ndarray, "b"],
) -> Int[np.ndarray, "s b"]:
    """Codes still masked after each step: level 0 is revealed in its steps, then level 1 in its.

    Within a level as many as `mask_schedules` leaves of its codes. Raises UserError where a level
    has more steps than codes, and for numbers of codes that are not those of whole positions.
    """
    depth = len(steps_per_level)
    if np.any(num_tokens % depth):
        raise errors.UserError(
            f"{int(num_tokens[num_tokens % depth > 0][0])} masked codes are not those of whole "
            f"positions of depth {depth}, which level_by_level fills; keep or draw whole positions"
        )
    length = num_tokens // depth
    return np.concatenate(
        [
            mask_schedules.num_masked_per_example(schedule, steps, length)
            + (depth - 1 - level) * length
            for level, steps in enumerate(steps_per_level)
        ]
    )


def share_steps(num_steps: int, depth: int, length: int) -> tuple[int, ...]:
    """`num_steps` over the levels: one for each, and the others one by one where they count most.

    A level weighs half of the one above it, as the distance that its codes leave does, so the next
    step goes where 2^-level / steps is largest; no level has more steps than positions. Raises
    UserError where they cannot be shared so.
    """
    if not depth <= num_steps <= depth * length:
        raise errors.UserError(
            f"{num_steps} sampling steps for {depth} levels of {length} positions, one level after "
            f"the other; expected {depth} to {depth * length} steps"
        )
    steps = np.ones(depth, np.int64)
    for _ in range(num_steps - depth):
        due = np.where(steps < length, 0.5 ** np.arange(depth) / steps, -1.0)
        steps[np.argmax(due)] += 1
    return tuple(steps.tolist())
