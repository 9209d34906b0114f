"""Seeds that JAX uses in full."""

from resgen_jax.core import errors

LARGEST = 2**32 - 1  # JAX takes 32 bits of a seed; the rest would be lost in silence


def check(value: int, name: str = "seed") -> int:
    """The seed itself; UserError for one of which JAX would use a part alone."""
    if not 0 <= value <= LARGEST:
        shown = str(value) if abs(value) < 10**30 else "a number of more than 30 digits"
        raise errors.UserError(f"{name} is {shown}; expected 0 to {LARGEST}")
    return int(value)
