"""A judge of photographs as one more network whose features measure images."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from resgen_jax.evaluation.judge import Judge
from resgen_jax.features import interface

PyTree = Any
NAME = "judge"


def network(judge: Judge) -> tuple[interface.FeatureNetwork, PyTree]:
    """The network and its parameters; features are standardised by the real training images.

    Its distance compares with nothing but itself: another judge has other features.
    """
    channels = judge.image_shape[-1]

    def apply(params: PyTree, images: Float[Array, "b h w 3"]) -> interface.Outputs:
        # The images are bytes, and gray ones were made colour.
        raw, logits = judge.forward(params["net"], images[..., :channels].astype(jnp.uint8))
        mean, deviation = (params[name][None, :] for name in ("mean", "deviation"))
        return interface.Outputs((raw - mean) / deviation, spatial=None, logits=logits)

    params = {"net": judge.params, "mean": judge.mean, "deviation": judge.deviation}
    params = jax.tree.map(np.asarray, params)

    def init(key: jax.Array) -> PyTree:
        del key  # it was trained
        return params

    num_features = len(judge.mean)
    return interface.FeatureNetwork(NAME, f"FD-{NAME}", num_features, init, apply), params
