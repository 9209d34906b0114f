"""How to sample from AR-ResGen, as configs and flags say it; imports no network and no JAX."""

import dataclasses
import math

from resgen_jax.core import build

CHOICES: dict[str, tuple[str, ...]] = {}  # no field has few values
ABOVE = ("top_p",)  # the lower bound itself is out: it would leave nothing to draw
# Bounds of every number of the spec.
BOUNDS = {
    "guidance_scale": (0, math.inf),
    "temperature": (0, math.inf),
    "top_k": (0, math.inf),
    "top_p": (0, 1),
    "noise_scale": (0, math.inf),
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """How to draw a position's stack of codes; every position is drawn alike."""

    guidance_scale: float = 1.0  # 1 = off
    temperature: float = 1.0  # of draws among codes and components; it divides
    top_k: int = 0  # draws are among so many; 0 = all
    top_p: float = 1.0  # draws are among the likeliest with this share; 1 = all
    noise_scale: float = 1.0  # times the deviation of mixture or flow in their draws

    def __post_init__(self):
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            build.check_between(f"sampler.{name}", value, low, high, is_above=name in ABOVE)
