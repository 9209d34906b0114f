"""What LPIPS sees, as features: the mean activations of one layer of its SqueezeNet."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.features import interface, lpips

PyTree = Any

BACKBONE = "squeeze"
# The third of seven maps. Of images of 32 pixels it is the deepest with places to average (3 x 3;
# behind the next pool one is left), and its 256 channels leave the covariance of a thousand samples
# its full rank, which 1,280 do not.
STAGE = 2


def make() -> interface.FeatureNetwork:
    """SqueezeNet 1.1 as LPIPS v0.1 has it, images at their own size, the mean over places.

    Zhang et al., arXiv 1801.03924. A layer near the input: it tells textures and colours from
    another, where classifiers of 1,000 classes look at what is shown. `apply` raises UserError for
    images too small for it.
    """
    return interface.FeatureNetwork(
        name="lpips",
        distance_name="FD-lpips",
        num_features=lpips.BACKBONES[BACKBONE].widths[STAGE],
        init=lpips.make(BACKBONE).init,
        apply=apply,
    )


def apply(params: PyTree, images: Float[Array, "b h w 3"]) -> interface.Outputs:
    """Features of images in [0, 255]; without logits."""
    with jax.default_matmul_precision("highest"):
        values = lpips.maps(BACKBONE, params, images / 127.5 - 1)[STAGE]
    return interface.Outputs(features=jnp.mean(values, axis=(1, 2)), spatial=None, logits=None)
