"""How to sample from ResGen, as configs and flags say it; imports no network and no JAX."""

import dataclasses
import math

from resgen_jax.core import build, errors
from resgen_jax.generators import choices

# One number, or one for each step.
PerStep = float | tuple[float, ...]

# Of each field of few values the names: those of functions, which are not imported for them.
CHOICES = {
    **choices.KINDS,
    "mask_schedule": ("cosine", "linear", "arccos"),
    "order_noise_decay": ("linear", "constant"),
    "guidance_schedule": ("constant", "linear", "power_cosine"),
}
ABOVE = ("top_p",)  # the lower bound itself is out: it would leave nothing to draw
# Bounds of every number of the spec.
BOUNDS = {
    "num_steps": (1, 2**20),
    "order_noise": (0, math.inf),
    "guidance_scale": (0, math.inf),
    "temperature": (0, math.inf),
    "top_k": (0, math.inf),
    "top_p": (0, 1),
    "noise_scale": (0, math.inf),
    "remask_rate": (0, 1),
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """How to sample; only `num_steps` and `choices` compile anew when they change.

    A list of numbers holds the value of each step as it is, without schedule or decay.
    """

    num_steps: int = 8  # calls of the network
    # Of each level, masks "level_by_level" only; together num_steps, or () to share those out.
    steps_per_level: tuple[int, ...] = ()
    mask_schedule: str = "cosine"  # share hidden after each step; pow2 or pow:2.5, too
    masks: str = "coarse_first"  # which cells are revealed first; as in training
    proposal: str = "mixture"  # what draws the codes
    confidence: str = "component"  # what says which codes are surest
    calibration: str = "none"  # of the confidence; prior: minus the log frequency of each code
    order: str = "confidence"  # in which cells are revealed; hypergeometric: all alike
    order_noise: PerStep = 1.0  # in the order of confidence; 0 = none
    order_noise_decay: str = "linear"  # over the steps
    guidance_scale: PerStep = 1.0  # 1 = off
    guidance_schedule: str = "constant"  # over the steps; power_cosine:2, too
    # From and to which share of the steps it acts.
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    # From and to which share of masked codes it acts, too.
    guidance_mask_ratios: tuple[float, float] = (0.0, 1.0)
    temperature: PerStep = 1.0  # of draws among codes and components; it divides
    top_k: int | tuple[int, ...] = 0  # draws are among so many; 0 = all
    top_p: PerStep = 1.0  # draws are among the likeliest with this share; 1 = all
    noise_scale: PerStep = 1.0  # times the deviation of the mixture in its draws
    remask: str = "none"  # how revealed codes are hidden again, to be drawn anew
    remask_rate: float = 0.1  # what share of them a step hides
    remask_interval: tuple[float, float] = (0.0, 1.0)  # from and to which share of the steps

    def __post_init__(self):
        choices.check(self.choices)
        self._check_levels()
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.num_steps:
                raise errors.UserError(
                    f"sampler.{name} has {len(value)} entries for {self.num_steps} steps; "
                    "expected one number, or one for each step"
                )
            build.check_between(f"sampler.{name}", value, low, high, is_above=name in ABOVE)

    def _check_levels(self) -> None:
        steps = self.steps_per_level
        if not steps:
            return
        if self.masks != "level_by_level":
            raise errors.UserError(
                f"sampler.steps_per_level is {steps} but sampler.masks {self.masks!r}, which "
                "reveals all levels in the same steps; leave it empty, or use level_by_level"
            )
        if min(steps) < 1 or sum(steps) != self.num_steps:
            raise errors.UserError(
                f"sampler.steps_per_level is {steps}, together {sum(steps)}, and sampler.num_steps "
                f"{self.num_steps}; expected 1 or more for each level, together num_steps, or () "
                "to share those out"
            )

    @property
    def choices(self) -> choices.Choices:
        """The functions that a sampler of this spec is made of."""
        return choices.Choices(
            self.proposal,
            self.confidence,
            self.masks,
            self.order,
            self.remask,
            self.calibration,
        )
