"""Confidence without what a code has anyhow: minus the log of how frequent it is at its level.

A frequent code is likely everywhere, so by confidence alone it is revealed first and tells little.
The frequencies are those that the model itself draws where all is masked and no class is told, over
all positions, taken once for each batch that is sampled. Counts of the training codes would say
the same of a good model, but no run or export of before holds any.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from resgen_jax.core import keys as random_keys
from resgen_jax.core import spaces
from resgen_jax.generators import confidence, interface, proposals
from resgen_jax.nn import functional
from resgen_jax.processes import rvq_masking

PyTree = Any
NUM_DRAWS = 32  # of every position; all count alike
SEED = 0  # of these draws: the same in every batch, so that none of them changes a sample
# Whatever the draws of samples are sharpened by: these are to be what the model believes.
ONE = np.ones((), np.float32)
PLAIN = proposals.Knobs(ONE, ONE, np.zeros((), np.int32), ONE, ONE)


class Nothing(NamedTuple):
    """What the frequencies are drawn from: a model that is told nothing."""

    network: functional.Network
    params: PyTree
    codebooks: Float[Array, "q v c"]
    space: spaces.Space
    propose: proposals.Proposal


Calibrate = Callable[[confidence.Confidence, Nothing], confidence.Confidence]


def none(measure: confidence.Confidence, nothing: Nothing) -> confidence.Confidence:
    """The confidence as it is."""
    del nothing
    return measure


def by_prior(measure: confidence.Confidence, nothing: Nothing) -> confidence.Confidence:
    """The confidence minus the log frequency of the code at its level."""
    log_prior = log_frequency(draw(nothing), nothing.space.codes.codebook_size)

    def calibrated(outputs: proposals.Outputs, draw: proposals.Draw) -> Float[Array, "b l q"]:
        level = jnp.arange(len(log_prior))
        return measure(outputs, draw) - log_prior[level, draw.codes]

    return calibrated


def draw(nothing: Nothing) -> Int[Array, "n l q"]:
    """Codes of all levels, drawn at once where all is masked and no class is told."""
    space, codebooks = nothing.space, nothing.codebooks
    known = interface.nothing_known(space, 1)
    revealed = rvq_masking.revealed_embedding(known.codes, known.is_masked, codebooks)
    nobody = jnp.full((1,), space.num_classes, jnp.int32)
    states = nothing.network.apply(
        nothing.params, revealed, known.is_masked, nobody, method="hidden"
    )
    known = interface.nothing_known(space, NUM_DRAWS)
    found = nothing.propose(
        random_keys.example_keys(jax.random.key(SEED), jnp.arange(NUM_DRAWS)),
        proposals.Outputs(
            nothing.network, nothing.params, jnp.repeat(states, NUM_DRAWS, axis=0), codebooks
        ),
        known.codes,
        known.is_masked,
        jax.tree.map(jnp.asarray, PLAIN),
        confidence.codes_alone(space.codes.num_beams),
    )
    return found.codes


def log_frequency(codes: Int[Array, "n l q"], codebook_size: int) -> Float[Array, "q v"]:
    """Log of each code's share at its level; one more is counted of each, so that none has none."""
    by_level = jnp.moveaxis(codes, -1, 0).reshape(codes.shape[-1], -1)
    counts = jax.vmap(lambda level: jnp.bincount(level, length=codebook_size))(by_level) + 1
    total = by_level.shape[1] + codebook_size
    return jnp.log(counts.astype(jnp.float32)) - jnp.log(jnp.float32(total))


KINDS: dict[str, Calibrate] = {"none": none, "prior": by_prior}
