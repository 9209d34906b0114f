"""Training a network to give guided predictions in one call (arXiv 2501.15420).

With b of (0, 1] the share of the network's own prediction, b own + (1 - b) unconditional is fitted
to the data, as a conditional prediction is. So own = unconditional + (conditional - unconditional)
/ b: guided with the scale 1 / b, which the network is told.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from resgen_jax.core import errors
from resgen_jax.generators import resgen

AFFINE = ("mixture", "codes")  # heads: guiding their states is to guide what they say


def check(model: resgen.Spec, condition_drop_rate: float) -> None:
    """Raises UserError for a model that cannot be trained so."""
    if not model.is_told_guidance:
        return
    if model.head not in AFFINE:
        raise errors.UserError(
            f"model.is_told_guidance is True, but model.head is {model.head!r}, which is not "
            f"affine in the states that are guided; use one of {', '.join(AFFINE)}"
        )
    if not condition_drop_rate:
        raise errors.UserError(
            "model.is_told_guidance is True, but loss.condition_drop_rate is 0, so that there "
            "is no prediction without a class to be guided away from; use a rate above 0, e.g. 0.1"
        )


def shares(keys: Key[Array, "b"], labels: Int[Array, "b"], num_classes: int) -> Float[Array, "b"]:
    """A share of (0, 1] for each row, evenly drawn; 1 for rows without a class.

    Those teach the prediction that the others are guided away from.
    """
    drawn = 1 - jax.vmap(jax.random.uniform)(keys)
    return jnp.where(labels == num_classes, 1.0, drawn)


def mix(
    own: Float[Array, "b l d"], unconditional: Float[Array, "b l d"], share: Float[Array, "b"]
) -> Float[Array, "b l d"]:
    """What is fitted to the data; the unconditional part is constant for the gradient."""
    weight = share[:, None, None].astype(own.dtype)
    return weight * own + (1 - weight) * jax.lax.stop_gradient(unconditional)
