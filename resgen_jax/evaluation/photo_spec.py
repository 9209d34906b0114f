"""What the judge of photographs is made of, and how it is trained."""

import dataclasses

from resgen_jax.core import errors
from resgen_jax.evaluation import residual

SHARES = ("label_smoothing", "max_shift_ratio", "whole_from", "average_from")


@dataclasses.dataclass(frozen=True)
class Spec(residual.Spec):
    """Size and training; the defaults fit CIFAR-10's 50,000 images."""

    num_epochs: float = 8.0
    batch_size: int = 384
    learning_rate: float = 0.05  # Muon's at the first step; it falls to 0 in a straight line
    label_smoothing: float = 0.1
    crop_ratio: float = 0.75  # share of the side that training crops show at first
    whole_from: float = 0.8  # share of the steps after which whole images are shown, shifted
    max_shift_ratio: float = 1 / 16  # of whole images, as a share of their side
    average_from: float = 0.9  # share of the steps after which parameters are averaged

    def __post_init__(self):
        super().__post_init__()
        for name in ("num_epochs", "batch_size", "learning_rate", "crop_ratio"):
            if not getattr(self, name) > 0:
                value = getattr(self, name)
                raise errors.UserError(f"judge.{name} is {value}; expected more than 0")
        for name in SHARES:
            if not 0 <= getattr(self, name) < 1:
                value = getattr(self, name)
                raise errors.UserError(f"judge.{name} is {value}; expected a share in [0, 1)")
        if self.crop_ratio > 1:
            raise errors.UserError(f"judge.crop_ratio is {self.crop_ratio}; expected at most 1")
