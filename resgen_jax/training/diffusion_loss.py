"""What training a diffusion on latents minimises: squared errors, and a bound for the variance."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from resgen_jax.core import build, errors, keys, spaces
from resgen_jax.generators import conditioning, diffusion_transformer
from resgen_jax.losses import regression
from resgen_jax.nn import attention
from resgen_jax.processes import interpolants, noise_levels, predictions
from resgen_jax.training import diffusion_noise, padding, variance_bound
from resgen_jax.training.state import Batch

SCHEDULE = "squared_cosine"  # steps in place of a path


@dataclasses.dataclass(frozen=True)
class LossSpec:
    """What is minimised; the defaults are SiT's on the latents of SoftVQ-VAE.

    DiT's are noise "squared_cosine", prediction "noise" and times "uniform".
    """

    noise: str = "linear"  # its path, linear or cosine, or squared_cosine: DiT's steps
    prediction: str = "velocity"  # or noise, score, data
    times: str = "lognormal"  # or uniform: how those of training are drawn
    num_steps: int = 1000  # of squared_cosine only
    condition_drop_rate: float = 0.1  # share of examples without a class, for guidance
    # Share that the average of the parameters, which is used later, keeps at each step.
    average_decay: float = 0.9999

    def __post_init__(self):
        known = {
            "noise": (*interpolants.PATHS, SCHEDULE),
            "prediction": predictions.PREDICTIONS,
            "times": interpolants.TIME_DRAWS,
        }
        build.check_known(self, known, "loss.")
        for name in ("condition_drop_rate", "average_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise errors.UserError(f"loss.{name} is {getattr(self, name)}; expected 0 to 1")
        build.check_sizes(self, ("num_steps",), least=2)
        found = self.prediction, self.times
        if self.noise == SCHEDULE and found != ("noise", "uniform"):
            raise errors.UserError(
                f"loss.noise is {SCHEDULE!r}, whose steps are even and which predicts noise, but "
                f"loss.prediction is {found[0]!r} and loss.times {found[1]!r}; set them to 'noise' "
                "and 'uniform', or loss.noise to a path"
            )


def check(model: diffusion_transformer.Spec, loss: LossSpec) -> None:
    """Raises UserError for a model that learns the variance of steps that there are not."""
    if model.learns_variance and loss.noise != SCHEDULE:
        raise errors.UserError(
            f"model.learns_variance is True, but loss.noise is {loss.noise!r}, a path, which has "
            f"no steps of a variance; set it to {SCHEDULE!r}, or model.learns_variance to False"
        )


def process_of(spec: LossSpec) -> diffusion_noise.Process:
    """How a batch becomes noisy."""
    if spec.noise == SCHEDULE:
        return diffusion_noise.on_schedule(noise_levels.squared_cosine(spec.num_steps))
    time_draw = interpolants.time_draw_by_name(spec.times)
    return diffusion_noise.on_path(interpolants.by_name(spec.noise), time_draw, spec.prediction)


def draw(
    batch: Batch,
    key: PRNGKeyArray,
    spec: LossSpec,
    space: spaces.Space,
    is_training: bool = True,
) -> Batch:
    """The batch at unit scale with noise of a time for each row, and in training labels dropped.

    Batches hold "latents" Float "b l c", "labels" Int "b", and "lengths" Int "b" if these differ.
    Each row draws by its number in the batch, so that what it gets does not depend on the rows that
    are computed together with it. All arrays have a row an example.
    """
    labels, item, is_real = batch["labels"], space.latents, padding.is_real(batch)
    use = keys.named_keys(key, "drop", "time", "noise")
    row = {name: keys.example_keys(use[name], jnp.arange(len(labels))) for name in use}
    latents = (batch["latents"].astype(jnp.float32) - item.mean) / item.deviation
    latents = attention.without_padding(latents, is_real)
    shape = latents.shape[1:]
    noise = jax.vmap(lambda row_key: jax.random.normal(row_key, shape))(row["noise"])
    drawn = process_of(spec)(row["time"], latents, noise)._asdict()
    if is_training:
        rate = spec.condition_drop_rate
        labels = conditioning.drop_labels(row["drop"], labels, rate, space.num_classes)
    if is_real is not None:
        drawn["is_real"] = is_real
    return {**drawn, "labels": labels, "is_scored": padding.is_scored(batch)}


class Sums(NamedTuple):
    """Over the scored positions of a batch or of a part of it: those of parts add up."""

    squared_error: Float[Array, ""]  # mean of a position's channels
    bound: Float[Array, ""]  # bits of a number; 0 where no variance is learnt


def squared_errors(predicted: Float[Array, "b l c"], drawn: Batch) -> Float[Array, "b l"]:
    """Of each position of rows out of `draw`, as a network predicts them."""
    factor = drawn["factor"][:, None, None]
    return regression.position_errors(factor * predicted, drawn["target"])


def sums(outputs: Float[Array, "b l c"], drawn: Batch, spec: LossSpec) -> Sums:
    """Those of a network that predicts no variance."""
    del spec
    return Sums(_total(squared_errors(outputs, drawn), drawn), jnp.zeros(()))


def sums_with_variance(outputs: Float[Array, "b l e"], drawn: Batch, spec: LossSpec) -> Sums:
    """Those of one that does: outputs are of twice as many channels."""
    predicted, share = diffusion_transformer.split_variance(outputs)
    steps = variance_bound.steps_of(spec.num_steps)
    bits = variance_bound.bits(drawn["times"], drawn["target"], predicted, share, steps)
    return Sums(_total(squared_errors(predicted, drawn), drawn), _total(bits, drawn))


def num_positions(drawn: Batch) -> Float[Array, ""]:
    """The scored ones, at least 1: what the loss of a position divides by."""
    return jnp.maximum(jnp.sum(drawn["is_scored"]), 1).astype(jnp.float32)


def per_position(sums: Sums, num_positions: Float[Array, ""]) -> Float[Array, ""]:
    """The loss, or of the sums of a part its part of it; both terms weigh as in DiT's code."""
    return (sums.squared_error + sums.bound) / num_positions


def _total(values: Float[Array, "b l"], drawn: Batch) -> Float[Array, ""]:
    return jnp.sum(values, where=drawn["is_scored"])
