"""What ResGen's training minimises: the masked embedding's density, and each hidden code."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from resgen_jax.core import build, errors, keys, spaces
from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.generators import conditioning
from resgen_jax.losses import masked
from resgen_jax.processes import mask_schedules, masks
from resgen_jax.training import guidance_free, padding
from resgen_jax.training.state import Batch

HeadSums = dict[str, Array]  # of a head over scored positions; those of parts add up
TOO_MANY_DEAD = 0.25  # of the components: more are worth a warning


@dataclasses.dataclass(frozen=True)
class HeadSpec:
    """What is minimised of the heads; the defaults are what measured best on the demo data."""

    # The mixture's likelihood, the paper's bound of it, or a weighted form.
    objective: str = "exact"
    smoothing: float = 0.01  # of the responsibilities, objective "bound" only
    regression_weight: float = 0.2  # objective "weighted" only
    code_loss_weight: float = 1.0  # of the auxiliary per-level code loss; 0 = off
    condition_drop_rate: float = 0.1  # share of examples without a class, for guidance
    # Share that the average of the parameters, which is used later, keeps at each step.
    average_decay: float = 0.9999
    num_nll_draws: int = 32  # of the held-out code likelihood

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
        if self.num_nll_draws < 2:
            raise errors.UserError(
                f"loss.num_nll_draws is {self.num_nll_draws}; expected 2 or more"
            )


@dataclasses.dataclass(frozen=True)
class LossSpec(HeadSpec):
    """What is minimised, and what is hidden from the network meanwhile."""

    # From a uniform number to the share that is hidden; pow2 or pow:2.5, too.
    mask_schedule: str = "cosine"
    max_mask_rate: float = 1.0  # that number lies between 0 and this
    masks: str = "coarse_first"  # which cells are hidden; the sampler's, too

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.max_mask_rate <= 1:
            raise errors.UserError(
                f"loss.max_mask_rate is {self.max_mask_rate}; expected above 0 and at most 1"
            )
        mask_schedules.by_name(self.mask_schedule)  # raises for an unknown one
        if self.masks not in masks.KINDS:
            hint = build.nearest(self.masks, masks.KINDS)
            raise errors.UserError(f"loss.masks is {self.masks!r}; {hint}")


Objective = Callable[
    [mixture.Params, mixture.Basis, Float[Array, "b l c"], HeadSpec], Float[Array, "b l"]
]


def exact(
    params: mixture.Params, basis: mixture.Basis, target: Float[Array, "b l c"], spec: HeadSpec
) -> Float[Array, "b l"]:
    """Negative log density of the mixture."""
    del spec
    return -mixture.log_prob(params, basis, target)


def bound(
    params: mixture.Params, basis: mixture.Basis, target: Float[Array, "b l c"], spec: HeadSpec
) -> Float[Array, "b l"]:
    """The paper's two-part bound, responsibilities from the densities alone (section 3.3)."""
    return mixture.bound(params, basis, target, spec.smoothing)


def weighted(
    params: mixture.Params, basis: mixture.Basis, target: Float[Array, "b l c"], spec: HeadSpec
) -> Float[Array, "b l"]:
    """The exact likelihood's two parts, with a weight on the regression."""
    return mixture.weighted_bound(
        params, basis, target, 0.0, spec.regression_weight, mixture.by_posterior
    )


OBJECTIVES: dict[str, Objective] = {"exact": exact, "bound": bound, "weighted": weighted}


def draw(
    batch: Batch,
    key: PRNGKeyArray,
    spec: LossSpec,
    space: spaces.Space,
    is_training: bool = True,
) -> Batch:
    """The batch with a mask for each row; in training with labels dropped and keys of dropout.

    Each row draws by its number in the batch, so that what it gets does not depend on the rows
    that are computed together with it.
    """
    labels = batch["labels"]
    use = keys.named_keys(key, "mask", "drop", "dropout", "head", "share")
    row = {name: keys.example_keys(use[name], jnp.arange(len(labels))) for name in use}
    schedule, kind = mask_schedules.by_name(spec.mask_schedule), masks.KINDS[spec.masks]
    is_masked = kind.sample(
        row["mask"],
        schedule,
        batch["codes"].shape[1],
        space.codes.depth,
        spec.max_mask_rate,
        is_valid=padding.is_real(batch),
    )
    drawn = {
        "codes": batch["codes"],
        "labels": labels,
        "head": row["head"],
        "is_scored": padding.is_scored(batch),
        "is_masked": is_masked,
        "is_taught": kind.taught(is_masked),
    }
    if "lengths" in batch:
        drawn["lengths"] = batch["lengths"]
    if is_training:
        rate = spec.condition_drop_rate
        dropped = conditioning.drop_labels(row["drop"], labels, rate, space.num_classes)
        drawn |= {"labels": dropped, "dropout": row["dropout"]}
        drawn["share"] = guidance_free.shares(row["share"], dropped, space.num_classes)
    return drawn


class Counts(NamedTuple):
    """Of a whole batch: what its sums are divided by, at least 1."""

    num_tokens: Float[Array, ""]  # masked, and taught by the mask
    num_positions: Float[Array, ""]


class Sums(NamedTuple):
    """Over the scored positions of a batch or of a part of it: those of parts add up."""

    head: HeadSums  # "loss", and what else is told of the head
    code_nll: Float[Array, ""]  # of the masked codes by the code head; 0 without the code loss


def counts(drawn: Batch) -> Counts:
    """The counts that the means of a batch divide by; `drawn` is what `draw` gave."""
    num_scored = jnp.sum(drawn["is_scored"]).astype(jnp.float32)
    return Counts(
        masked.num_masked(drawn["is_taught"], drawn["is_scored"]), jnp.maximum(num_scored, 1)
    )


def code_nll(drawn: Batch, logits: Float[Array, "b l q v"]) -> Float[Array, ""]:
    """Sum over the taught codes of rows out of `draw`, by the code head's logits."""
    nll = masked.code_nll(logits, drawn["codes"])
    return jnp.sum(nll, where=drawn["is_taught"] & drawn["is_scored"][..., None])


def per_token(sums: Sums, counts: Counts, spec: HeadSpec) -> Float[Array, ""]:
    """The loss of a masked token; of the sums of a part, its part of the loss."""
    return (sums.head["loss"] + spec.code_loss_weight * sums.code_nll) / counts.num_tokens


def remarks(found: Mapping[str, float], num_components: int) -> dict[str, str]:
    """What a user should know of these metrics, by what it is about."""
    dead = float(found.get("dead_components", 0.0))
    if dead < TOO_MANY_DEAD:
        return {}
    return {
        "dead_components": f"{round(dead * num_components):,} of {num_components:,} components "
        "of the mixture are dead: each has less than a tenth of an even share of the prior; lower "
        "model.num_components or try another loss.objective"
    }
