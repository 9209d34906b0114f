"""How sure the generator is of each cell it has drawn (ResGen section 4.2)."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.core import errors
from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.generators import proposals
from resgen_jax.quantizers import beam, rvq
from resgen_jax.samplers import interface, order

Confidence = Callable[[proposals.Outputs, proposals.Draw], Float[Array, "b l q"]]


def by_component(outputs: proposals.Outputs, draw: proposals.Draw) -> Float[Array, "b l q"]:
    """Log prior of the component that was drawn, for all levels of its position."""
    del outputs
    return _for_all_levels(draw, _vectors_of(draw).sample.component_log_prior)


def by_density(outputs: proposals.Outputs, draw: proposals.Draw) -> Float[Array, "b l q"]:
    """Log density of the mixture at the vector that was drawn, for all levels of its position."""
    del outputs
    drawn = _vectors_of(draw)
    score = mixture.log_prob(drawn.density, drawn.basis, drawn.sample.vector)
    return _for_all_levels(draw, score)


def by_distance(outputs: proposals.Outputs, draw: proposals.Draw) -> Float[Array, "b l q"]:
    """Log-probability of each code under softmax(-distance^2 / 2 sigma^2) of what it quantizes.

    sigma is the mixture's scale of the position: codes that the next draw would likely change
    wait. A code that the code head has drawn has its log-probability there.
    """
    del outputs
    return cast(Array, draw.log_prob)


def by_drawn(outputs: proposals.Outputs, draw: proposals.Draw) -> Float[Array, "b l q"]:
    """Log-probability of each code under the head that drew it, at temperature 1 and unfiltered."""
    del outputs
    return cast(Array, draw.log_prob)


def by_code_head(outputs: proposals.Outputs, draw: proposals.Draw) -> Float[Array, "b l q"]:
    """Log-probability of each code under the code head, at temperature 1 and unfiltered."""
    log_prob = jax.nn.log_softmax(outputs.code_logits(), axis=-1)
    return jnp.take_along_axis(log_prob, draw.codes[..., None], axis=-1)[..., 0]


def none(outputs: proposals.Outputs, draw: proposals.Draw) -> Float[Array, "b l q"]:
    """Nothing is computed: for an order that does not ask."""
    del outputs
    return jnp.zeros(draw.codes.shape)


def _vectors_of(draw: proposals.Draw) -> Any:
    """A draw that has the mixture's: `choices.check` lets no other proposal come here."""
    return draw


def _for_all_levels(draw: proposals.Draw, score: Array) -> Array:
    return jnp.broadcast_to(score[..., None], draw.codes.shape)


def codes_alone(num_beams: int) -> proposals.Quantize:
    """Quantizing without probabilities, by `num_beams` beams."""

    def quantize(vectors, codes, is_masked, codebooks, log_scale):
        del log_scale
        return beam.encode_masked(vectors, codes, is_masked, codebooks, num_beams), None

    return quantize


def with_distances(num_beams: int) -> proposals.Quantize:
    """Quantizing with the probability of each code; UserError for more than one beam."""
    if num_beams != 1:
        raise errors.UserError(
            f"sampler.confidence is 'distance', which reads the distances of one beam, but the "
            f"tokenizer of these codes searches with {num_beams}; use another confidence"
        )
    return rvq.encode_masked_with_log_prob


class Kind(NamedTuple):
    """A confidence, how vectors are quantized for it, who reads it, and which heads it needs."""

    measure: Confidence
    quantize: Callable[[int], proposals.Quantize] = codes_alone  # by the number of beams
    order: interface.Order = order.by_confidence


# Named as in `choices.CONFIDENCES`, which says what they need.
KINDS = {
    "component": Kind(by_component),
    "density": Kind(by_density),
    "distance": Kind(by_distance, with_distances),
    "drawn": Kind(by_drawn),
    "code_head": Kind(by_code_head),
    "random": Kind(none, order=order.at_random),
}
