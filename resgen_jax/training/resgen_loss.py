"""What ResGen's training minimises: the masked embedding's density, and each hidden code."""

import dataclasses
from collections.abc import Callable

from jaxtyping import Array, Float

from resgen_jax.core import build, errors
from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.processes import mask_schedules


@dataclasses.dataclass(frozen=True)
class LossSpec:
    """What is minimised; the defaults are what measured best on the demo data."""

    objective: str = "exact"
    smoothing: float = 0.01  # of the responsibilities, objective "bound" only
    regression_weight: float = 0.2  # objective "weighted" only
    code_loss_weight: float = 1.0  # of the auxiliary per-level code loss; 0 = off
    mask_schedule: str = "cosine"
    max_mask_rate: float = 1.0  # r ~ U[0, max_mask_rate)
    condition_drop_rate: float = 0.1
    average_decay: float = 0.9999
    num_nll_draws: int = 128  # of the held-out code likelihood

    def __post_init__(self):
        if self.objective not in OBJECTIVES:
            hint = build.nearest(self.objective, OBJECTIVES)
            raise errors.UserError(f"loss.objective is {self.objective!r}; {hint}")
        for name in ("condition_drop_rate", "average_decay", "smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise errors.UserError(f"loss.{name} is {getattr(self, name)}; expected 0 to 1")
        for name in ("regression_weight", "code_loss_weight"):
            if getattr(self, name) < 0:
                raise errors.UserError(f"loss.{name} is {getattr(self, name)}; expected 0 or more")
        if not 0 < self.max_mask_rate <= 1:
            raise errors.UserError(
                f"loss.max_mask_rate is {self.max_mask_rate}; expected above 0 and at most 1"
            )
        if self.num_nll_draws < 1:
            raise errors.UserError(
                f"loss.num_nll_draws is {self.num_nll_draws}; expected 1 or more"
            )
        mask_schedules.by_name(self.mask_schedule)  # raises for an unknown one


Objective = Callable[
    [mixture.Params, mixture.Basis, Float[Array, "b l c"], LossSpec], Float[Array, "b l"]
]


def exact(
    params: mixture.Params, basis: mixture.Basis, target: Float[Array, "b l c"], spec: LossSpec
) -> Float[Array, "b l"]:
    """Negative log density of the mixture."""
    del spec
    return -mixture.log_prob(params, basis, target)


def bound(
    params: mixture.Params, basis: mixture.Basis, target: Float[Array, "b l c"], spec: LossSpec
) -> Float[Array, "b l"]:
    """The paper's two-part bound, responsibilities from the densities alone (section 3.3)."""
    return mixture.bound(params, basis, target, spec.smoothing)


def weighted(
    params: mixture.Params, basis: mixture.Basis, target: Float[Array, "b l c"], spec: LossSpec
) -> Float[Array, "b l"]:
    """The exact likelihood's two parts, with a weight on the regression."""
    return mixture.weighted_bound(
        params, basis, target, 0.0, spec.regression_weight, mixture.by_posterior
    )


OBJECTIVES: dict[str, Objective] = {"exact": exact, "bound": bound, "weighted": weighted}
