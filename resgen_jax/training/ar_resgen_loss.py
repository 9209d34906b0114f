"""What AR-ResGen's training minimises: its heads' losses of whole stacks, at every position."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from resgen_jax.core import keys, spaces
from resgen_jax.generators import conditioning
from resgen_jax.training import padding, resgen_loss
from resgen_jax.training.state import Batch


@dataclasses.dataclass(frozen=True)
class LossSpec(resgen_loss.HeadSpec):
    """What is minimised of the heads; ResGen's, without masks: a position's stack is all hidden."""


def draw(
    batch: Batch,
    key: PRNGKeyArray,
    spec: LossSpec,
    space: spaces.Space,
    is_training: bool = True,
) -> Batch:
    """The batch as the heads' losses read it; in training with labels dropped and dropout's keys.

    Each row draws by its number in the batch, so that what it gets does not depend on the rows
    that are computed together with it.
    """
    labels, codes = batch["labels"], batch["codes"]
    use = keys.named_keys(key, "drop", "dropout", "head")
    row = {name: keys.example_keys(use[name], jnp.arange(len(labels))) for name in use}
    is_real = padding.is_real(batch)
    is_masked = jnp.ones(codes.shape, bool)
    if is_real is not None:
        is_masked = is_masked & is_real[..., None]
    drawn = {
        "codes": codes,
        "labels": labels,
        "head": row["head"],
        "is_scored": padding.is_scored(batch),
        "is_masked": is_masked,
        "is_taught": is_masked,
    }
    if is_training:
        rate = spec.condition_drop_rate
        dropped = conditioning.drop_labels(row["drop"], labels, rate, space.num_classes)
        drawn |= {"labels": dropped, "dropout": row["dropout"]}
    return drawn
