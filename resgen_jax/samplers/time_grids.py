"""The times that solvers of flows step through, from 1 (noise) down to 0 (data)."""

import numpy as np
from jaxtyping import Float

from resgen_jax.core import errors
from resgen_jax.processes import noise_levels

LAST_TIME = 0.04  # from here SiT's SDE goes to the data in one step without noise


def uniform(num_steps: int) -> Float[np.ndarray, "s_and_1"]:
    """Equal steps. Raises UserError for fewer than one."""
    noise_levels.check_num_steps(num_steps)
    return np.linspace(1.0, 0.0, num_steps + 1)


def uniform_until(num_steps: int, last: float = LAST_TIME) -> Float[np.ndarray, "s_and_1"]:
    """As many points from 1 to `last` in equal steps, then 0: the grid of SiT's SDE.

    A single step goes from 1 to 0. Raises UserError for fewer than one, and for a `last` that is
    not between 0 and 1.
    """
    noise_levels.check_num_steps(num_steps)
    if not 0 < last < 1:
        raise errors.UserError(f"last time {last}; expected above 0 and below 1, as {LAST_TIME}")
    return np.append(np.linspace(1.0, last, num_steps), 0.0)
