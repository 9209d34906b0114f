"""Ways of masking in training: how a mask is drawn, and which of its hidden codes it teaches."""

import functools
from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Bool

from resgen_jax.processes import level_masking, rvq_masking

IsMasked = Bool[Array, "b l q"]


def every_hidden(is_masked: IsMasked) -> IsMasked:
    """All hidden codes are taught."""
    return is_masked


class Kind(NamedTuple):
    """A way of masking.

    `sample(keys, schedule, length, depth, max_rate, is_valid=...)` draws masks; see
    `rvq_masking.sample_mask`.
    """

    sample: Callable[..., IsMasked]
    taught: Callable[[IsMasked], IsMasked] = every_hidden


KINDS: dict[str, Kind] = {
    **{
        name: Kind(functools.partial(rvq_masking.sample_mask, hide=hide))
        for name, hide in rvq_masking.MASKS.items()
    },
    "level_by_level": Kind(level_masking.sample_mask, level_masking.is_current),
}
