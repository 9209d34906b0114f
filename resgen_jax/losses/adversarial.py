"""Losses of a discriminator and of what it judges; one value per score, not reduced."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Scores = Float[Array, "*n"]
LARGEST_WEIGHT = 1e4


class Kind(NamedTuple):
    """What a discriminator loses by its scores of real and made images, and the maker by his."""

    real: Callable[[Scores], Scores]
    made: Callable[[Scores], Scores]
    maker: Callable[[Scores], Scores]


# The halves are VQGAN's: the discriminator's two terms are averaged.
KINDS: dict[str, Kind] = {
    "hinge": Kind(
        real=lambda scores: 0.5 * jax.nn.relu(1 - scores),
        made=lambda scores: 0.5 * jax.nn.relu(1 + scores),
        maker=lambda scores: -scores,
    ),
    "non_saturating": Kind(
        real=lambda scores: 0.5 * jax.nn.softplus(-scores),
        made=lambda scores: 0.5 * jax.nn.softplus(scores),
        maker=lambda scores: jax.nn.softplus(-scores),
    ),
}


def r1(
    score: Callable[[Float[Array, "b h w c"]], Float[Array, "b *n"]],
    images: Float[Array, "b h w c"],
) -> Float[Array, "b"]:
    """|d score / d image|^2 of each image, its scores summed (Mescheder et al. 2018, R1).

    Images may meet inside `score` (batch statistics): the gradient is that of all scores.
    """
    gradient = jax.grad(lambda images: jnp.sum(score(images)))(images)
    return jnp.sum(gradient**2, axis=(1, 2, 3))


def lecam(
    real: Scores,
    made: Scores,
    mean_real: Float[Array, ""],
    mean_made: Float[Array, ""],
) -> Float[Array, ""]:
    """Keeps scores near the moving averages of the other side (Tseng et al. 2021, equation 4)."""
    above = jnp.mean(jax.nn.relu(real - mean_made) ** 2)
    below = jnp.mean(jax.nn.relu(mean_real - made) ** 2)
    return above + below


def adaptive_weight(
    fidelity_norm: Float[Array, ""], adversarial_norm: Float[Array, ""]
) -> Float[Array, ""]:
    """|grad of the fidelity loss| / |grad of the adversarial loss| at the last layer (VQGAN)."""
    return jnp.minimum(fidelity_norm / (adversarial_norm + 1e-4), LARGEST_WEIGHT)
