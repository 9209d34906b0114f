"""How sure the generator is of a position it has drawn (ResGen section 4.2)."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.samplers import interface, order

Confidence = Callable[[mixture.Params, mixture.Basis, mixture.Sample], Float[Array, "b l"]]


def by_component(
    params: mixture.Params, basis: mixture.Basis, sample: mixture.Sample
) -> Float[Array, "b l"]:
    """Log prior of the component that was drawn: unlikely draws wait and are drawn again."""
    del params, basis
    return sample.component_log_prior


def by_density(
    params: mixture.Params, basis: mixture.Basis, sample: mixture.Sample
) -> Float[Array, "b l"]:
    """Log density of the mixture at the vector that was drawn."""
    return mixture.log_prob(params, basis, sample.vector)


def none(
    params: mixture.Params, basis: mixture.Basis, sample: mixture.Sample
) -> Float[Array, "b l"]:
    """Nothing is computed: for an order that does not ask."""
    del params, basis
    return jnp.zeros_like(sample.component_log_prior)


# Each kind with the order that reads it.
KINDS: dict[str, tuple[Confidence, interface.Order]] = {
    "component": (by_component, order.by_confidence),
    "density": (by_density, order.by_confidence),
    "random": (none, order.at_random),
}
