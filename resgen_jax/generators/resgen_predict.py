"""What the sampling loop asks of ResGen at each step: network, proposed codes, confidence."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from resgen_jax.generators import confidence, proposals
from resgen_jax.nn import functional
from resgen_jax.processes import rvq_masking
from resgen_jax.samplers import guidance
from resgen_jax.samplers import interface as sampler_interface

PyTree = Any


class Guide(NamedTuple):
    """A weaker model whose states, told the class, stand in for those of no class.

    Autoguidance (arXiv 2406.02507): away from what a worse copy says of the same class. States of
    two networks can be compared only where one has become the other: an earlier step of the same
    run, or a run begun from its parameters.
    """

    network: functional.Network
    params: PyTree


def make(
    network: functional.Network,
    params: PyTree,
    codebooks: Float[Array, "q v c"],
    labels: Int[Array, "b"],
    num_classes: int,
    propose: proposals.Proposal,
    quantize: proposals.Quantize,
    measure: confidence.Confidence,
    is_valid: Bool[Array, "b l"] | None = None,
    guide: Guide | None = None,
) -> sampler_interface.Predict:
    """`predict` of the mask-and-predict sampler: network, proposed codes, confidence.

    The guided network call is made only at steps whose guidance scale is not 1; away from `guide`
    if there is one. A network that is told the guidance gives guided states in one call. Where
    states or draws are not finite the confidence is not a number, which the sampling loop reports.
    """

    def hidden(revealed, is_masked, labels, is_valid):
        return network.apply(params, revealed, is_masked, labels, None, is_valid, method="hidden")

    def with_guide(revealed, is_masked):
        told = revealed, is_masked, labels, None, is_valid
        other = guide.network.apply(guide.params, *told, method="hidden")
        return hidden(revealed, is_masked, labels, is_valid), other

    def with_null_class(revealed, is_masked):
        states = hidden(
            guidance.interleave(revealed, revealed),
            guidance.interleave(is_masked, is_masked),
            guidance.interleave(labels, jnp.full_like(labels, num_classes)),
            None if is_valid is None else guidance.interleave(is_valid, is_valid),
        )
        return guidance.separate(states)

    def plain(revealed, is_masked):
        states = hidden(revealed, is_masked, labels, is_valid)
        return states, states

    both = with_null_class if guide is None else with_guide
    is_told = "share" in network.axes

    def proposed(keys, codes, is_masked, knobs, states, branches):
        outputs = proposals.Outputs(network, params, states, codebooks, branches)
        draw = propose(keys, outputs, codes, is_masked, knobs, quantize)
        is_sound = _is_sound(states, draw, is_masked)
        return draw.codes, jnp.where(is_sound, measure(outputs, draw), jnp.nan)

    def predict(keys, codes, is_masked, knobs):
        revealed = rvq_masking.revealed_embedding(codes, is_masked, codebooks)
        scale = knobs.guidance_scale
        if is_told:
            share = jnp.broadcast_to(1 / scale, labels.shape)
            told = revealed, is_masked, labels, None, is_valid, share
            states = network.apply(params, *told, method="hidden")
            return proposed(keys, codes, is_masked, knobs, states, None)
        sides = jax.lax.cond(scale == 1, plain, both, revealed, is_masked)
        branches = proposals.Branches(*sides, jnp.asarray(scale))
        states = guidance.guide(*sides, scale)
        return proposed(keys, codes, is_masked, knobs, states, branches)

    return predict


def _is_sound(
    states: Float[Array, "b l d"], draw: proposals.Draw, is_masked: Bool[Array, "b l q"]
) -> Bool[Array, "b l q"]:
    """Where states and draw are numbers: a code below 0 says that its logits were none."""
    leaves = [states, *jax.tree.leaves(draw.sample)]
    each = [
        jnp.isfinite(leaf).reshape(*is_masked.shape[:2], -1).all(axis=-1, keepdims=True)
        for leaf in leaves
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    return functools.reduce(jnp.logical_and, each) & (draw.codes >= 0)
