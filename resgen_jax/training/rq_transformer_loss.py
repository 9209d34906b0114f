"""What RQ-Transformer's training minimises: the cross-entropy of every code, or of soft ones."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from resgen_jax.core import errors, keys, spaces
from resgen_jax.generators import conditioning
from resgen_jax.losses import masked
from resgen_jax.quantizers import rvq, stochastic
from resgen_jax.training import padding
from resgen_jax.training.state import Batch


@dataclasses.dataclass(frozen=True)
class LossSpec:
    """What is minimised; the published networks were trained with soft, drawn codes at 0.5.

    Soft targets are softmax(-|remainder - e|^2 / temperature) over a level's codebook, the
    remainder being what the levels above left. In the paper it is that of the encoder's latents;
    cached codes know only their sum, so here it lacks what the last level left. At the last level
    it is the true code's own vector: the target is then the code and those near it.
    """

    # In squared distances of the tokenizer's own codebooks; 0 = the code alone is the target.
    soft_target_temperature: float = 0.0
    draws_codes: bool = False  # codes are drawn anew from the soft targets, for the input, too
    condition_drop_rate: float = 0.0  # share of examples without a class, for guidance
    # Share that the average of the parameters, which is used later, keeps at each step.
    average_decay: float = 0.9999

    def __post_init__(self):
        for name in ("condition_drop_rate", "average_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise errors.UserError(f"loss.{name} is {getattr(self, name)}; expected 0 to 1")
        if not 0 <= self.soft_target_temperature < np.inf:
            raise errors.UserError(
                f"loss.soft_target_temperature is {self.soft_target_temperature}; expected 0 (the "
                "code alone is the target) or more"
            )
        if self.draws_codes and not self.soft_target_temperature:
            raise errors.UserError(
                "loss.draws_codes is True but loss.soft_target_temperature is 0; set it to what "
                "codes are drawn at, such as 0.5"
            )


def unit_temperature(
    temperature: float,
    codebooks: Float[np.ndarray, "q v c"],
    unit_codebooks: Float[np.ndarray, "q v c"],
) -> float:
    """The temperature that means the same among the scaled codebooks."""
    is_code = ~rvq.is_padding(codebooks)
    before, after = (
        np.sum(np.square(each[is_code], dtype=np.float64)) for each in (codebooks, unit_codebooks)
    )
    return float(temperature * after / max(before, 1e-12))


def draw(
    batch: Batch,
    row_keys: Key[Array, "b"],
    spec: LossSpec,
    space: spaces.Space,
    codebooks: Float[Array, "q v c"],
    temperature: float,
) -> Batch:
    """The batch as it is trained on: labels dropped, codes drawn anew, keys of dropout.

    Each row draws by its own key, so that what it gets does not depend on the rows that are
    computed together with it.
    """
    use = jax.vmap(lambda key: keys.named_keys(key, "drop", "codes", "dropout"))(row_keys)
    labels, codes = batch["labels"], batch["codes"]
    # The network is told drawn codes, so that it meets those that a tokenizer might have chosen as
    # well; what they and their targets stand for stays the sum of the true ones.
    seen = codes
    if spec.draws_codes:
        seen = draw_codes(use["codes"], codes, codebooks, temperature)
    rate = spec.condition_drop_rate
    return {
        "codes": codes,
        "seen": seen,
        "labels": conditioning.drop_labels(use["drop"], labels, rate, space.num_classes),
        "is_scored": padding.is_scored(batch),
        "dropout": use["dropout"],
    }


def draw_codes(
    row_keys: Key[Array, "b"],
    codes: Int[Array, "b l q"],
    codebooks: Float[Array, "q v c"],
    temperature: float,
) -> Int[Array, "b l q"]:
    """Codes of the same vectors, each drawn by the distances to what the levels above left.

    Where no drawing is left, at temperature 0, they are the nearest ones to the sum of the codes;
    the first of these may be another than that of the latents, which lay elsewhere.
    """
    length = codes.shape[1]
    position_keys = jax.vmap(lambda key: keys.example_keys(key, jnp.arange(length)))(row_keys)
    quantized = rvq.decode(codes, codebooks)
    return stochastic.encode_rows(position_keys, quantized, codebooks, temperature)[0]


class Sums(NamedTuple):
    """Over the scored positions of a batch or of a part of it: those of parts add up."""

    loss: Float[Array, ""]  # of the targets
    code_nll: Float[Array, ""]  # of the codes that the network has been told


def sums(
    logits: Float[Array, "b l q v"],
    drawn: Batch,
    codebooks: Float[Array, "q v c"],
    temperature: float,
) -> Sums:
    """Those of rows out of `draw`; a temperature of 0 makes both alike."""
    is_scored = drawn["is_scored"][..., None]
    code_nll = _total(masked.code_nll(logits, drawn["seen"]), is_scored)
    if not temperature:
        return Sums(code_nll, code_nll)
    quantized = rvq.decode(drawn["codes"], codebooks)
    target = stochastic.soft_codes(quantized, drawn["seen"], codebooks, temperature)
    return Sums(_total(soft_nll(logits, target), is_scored), code_nll)


def soft_nll(
    logits: Float[Array, "b l q v"], target: Float[Array, "b l q v"]
) -> Float[Array, "b l q"]:
    """Cross-entropy of a distribution over each level's codes, in nats."""
    return jax.nn.logsumexp(logits, axis=-1) - jnp.sum(target * logits, axis=-1)


def num_codes(drawn: Batch) -> Float[Array, ""]:
    """Those of the scored positions, at least 1: what the loss of a code divides by."""
    depth = drawn["codes"].shape[-1]
    return jnp.maximum(jnp.sum(drawn["is_scored"]), 1).astype(jnp.float32) * depth


def _total(nll: Float[Array, "b l q"], is_scored: Bool[Array, "b l one"]) -> Float[Array, ""]:
    return jnp.sum(nll, where=is_scored)
