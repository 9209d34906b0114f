"""How to sample from RQ-Transformer, as configs and flags say it; imports no network and no JAX."""

import dataclasses
import math

from resgen_jax.core import build

# One number, or one for each level.
PerLevel = float | tuple[float, ...]

CHOICES: dict[str, tuple[str, ...]] = {}  # no field has few values
ABOVE = ("top_p",)  # the lower bound itself is out: it would leave nothing to draw
# Bounds of every number of the spec.
BOUNDS = {
    "temperature": (0, math.inf),
    "top_k": (0, math.inf),
    "top_p": (0, 1),
    "guidance_scale": (0, math.inf),
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """How to draw codes; a list of numbers holds the value of each level, coarse to fine.

    The published networks were sampled with a top_p of 0.92.
    """

    temperature: PerLevel = 1.0  # of draws; it divides, and 0 takes the likeliest code
    top_k: int | tuple[int, ...] = 0  # draws are among so many; 0 = all
    top_p: PerLevel = 1.0  # draws are among the likeliest with this share; 1 = all
    guidance_scale: PerLevel = 1.0  # of logits; 1 = off, the only one without a null class

    def __post_init__(self):
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            build.check_between(f"sampler.{name}", value, low, high, is_above=name in ABOVE)
