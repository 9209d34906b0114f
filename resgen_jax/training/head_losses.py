"""What each head of ResGen is trained on, and what is told of it: one value a head."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from resgen_jax.core import keys
from resgen_jax.generators import code_likelihood, flow_head
from resgen_jax.generators.proposals import Outputs
from resgen_jax.losses import masked
from resgen_jax.processes import rvq_masking
from resgen_jax.training.resgen_loss import OBJECTIVES, Counts, HeadSpec, HeadSums, Sums
from resgen_jax.training.state import Batch, Metrics

DEAD_SHARE = 0.1  # of an even share of the prior: a component with less is dead


class HeadLoss(NamedTuple):
    """A head's loss, as sums; their entry "loss" is minimised, per masked token."""

    # Outputs, rows out of `resgen_loss.draw`, the spec
    sums: Callable[[Outputs, Batch, HeadSpec], HeadSums]
    metrics: Callable[[HeadSums, Counts], Metrics]
    # Nats of the true code of one level, from states that hide it and all finer ones; None where
    # the head gives no probability of codes. Outputs, codes, level, keys of rows, the spec.
    level_nll: (
        Callable[
            [Outputs, Int[Array, "b l q"], Int[Array, ""], Key[Array, "b"], HeadSpec],
            Float[Array, "b l"],
        ]
        | None
    )
    word: str  # what the loss is called


def _mixture_sums(outputs: Outputs, drawn: Batch, spec: HeadSpec) -> HeadSums:
    is_masked, is_scored = drawn["is_masked"], drawn["is_scored"]
    density, basis = outputs.mixture()
    target = rvq_masking.masked_embedding(drawn["codes"], is_masked, outputs.codebooks)
    loss = OBJECTIVES[spec.objective](density, basis, target, spec)
    prior = jax.nn.softmax(density.component_logits, axis=-1)
    return {
        "loss": masked.masked_sum(loss, is_masked, is_scored),
        "log_scale": jnp.sum(density.log_scale, where=is_scored),
        "prior": jnp.sum(prior, axis=(0, 1), where=is_scored[..., None]),
    }


def _mixture_metrics(sums: HeadSums, counts: Counts) -> Metrics:
    share = sums["prior"] / counts.num_positions
    return {
        "log_scale": sums["log_scale"] / counts.num_positions,
        "component_perplexity": jnp.exp(jnp.sum(jax.scipy.special.entr(share))),
        "dead_components": dead_components(share),
    }


def dead_components(share: Float[Array, "m"]) -> Float[Array, ""]:
    """The share of components with less than a tenth of an even share of the prior, 1 / (10 M)."""
    return jnp.mean((share < DEAD_SHARE / len(share)).astype(jnp.float32))


def _mixture_level_nll(outputs, codes, level, row_keys, spec):
    density, basis = outputs.mixture()
    true_codes = jnp.take(codes, level, axis=-1)
    table = outputs.codebooks[level]
    return code_likelihood.nll(row_keys, density, basis, table, true_codes, spec.num_nll_draws)


def _codes_sums(outputs: Outputs, drawn: Batch, spec: HeadSpec) -> HeadSums:
    """Nothing: the code loss is the head's own."""
    del outputs, drawn, spec
    return {"loss": jnp.zeros(())}


def _no_metrics(sums: HeadSums, counts: Counts) -> Metrics:
    del sums, counts
    return {}


def _codes_level_nll(outputs, codes, level, row_keys, spec):
    del row_keys, spec
    return jnp.take(masked.code_nll(outputs.code_logits(), codes), level, axis=-1)


def _levels_sums(outputs: Outputs, drawn: Batch, spec: HeadSpec) -> HeadSums:
    del spec
    noise = None
    if "dropout" in drawn:  # in training alone
        depth, _, channels = outputs.codebooks.shape
        shape = (depth, drawn["codes"].shape[1], channels)
        normal = jax.vmap(lambda key: jax.random.normal(key, shape), out_axes=1)
        noise = normal(drawn["head"])
    nll = outputs.level_nll(drawn["codes"], noise)
    is_scored = drawn["is_taught"] & drawn["is_scored"][..., None]
    return {"loss": jnp.sum(nll, where=is_scored)}


def _levels_level_nll(outputs, codes, level, row_keys, spec):
    del row_keys, spec
    return jnp.take(outputs.level_nll(codes), level, axis=-1)


def _flow_sums(outputs: Outputs, drawn: Batch, spec: HeadSpec) -> HeadSums:
    """Squared error of the velocity on the linear path, mean over channels (flow matching)."""
    del spec
    is_masked = drawn["is_masked"]
    mean, deviation = flow_head.moments(is_masked, outputs.codebooks)
    target = rvq_masking.masked_embedding(drawn["codes"], is_masked, outputs.codebooks)
    vectors = (target - mean) / deviation[..., None]
    use = jax.vmap(lambda key: keys.named_keys(key, "time", "noise"))(drawn["head"])
    time = jax.vmap(lambda key: jax.random.uniform(key, vectors.shape[1:2]))(use["time"])
    noise = jax.vmap(lambda key: jax.random.normal(key, vectors.shape[1:]))(use["noise"])
    between = (1 - time[..., None]) * vectors + time[..., None] * noise
    error = outputs.velocity(between, time) - (noise - vectors)
    loss = jnp.mean(error**2, axis=-1)
    return {"loss": masked.masked_sum(loss, is_masked, drawn["is_scored"])}


LOSSES: dict[str, HeadLoss] = {
    "mixture": HeadLoss(_mixture_sums, _mixture_metrics, _mixture_level_nll, "mixture_loss"),
    "codes": HeadLoss(_codes_sums, _no_metrics, _codes_level_nll, "code_loss"),
    "levels": HeadLoss(_levels_sums, _no_metrics, _levels_level_nll, "level_loss"),
    "flow": HeadLoss(_flow_sums, _no_metrics, None, "flow_loss"),
}


def metrics(head: HeadLoss, sums: Sums, counts: Counts, spec: HeadSpec) -> Metrics:
    """What a batch tells of its loss."""
    found = {head.word: sums.head["loss"] / counts.num_tokens}
    found |= head.metrics(sums.head, counts)
    if spec.code_loss_weight:
        found["code_loss"] = sums.code_nll / counts.num_tokens
    return found
