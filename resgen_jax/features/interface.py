"""What the rest of the library knows of a frozen network whose features measure images."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Outputs(NamedTuple):
    """What a network says of a batch of images, all float32; None where it has no such thing."""

    features: jax.Array  # "b f": their means and covariances make the Fréchet distance
    spatial: jax.Array | None  # "b s": features that keep their place, flattened
    logits: jax.Array | None  # "b k": scores of the classes it was trained on


class FeatureNetwork(NamedTuple):
    """Images to features as pure functions; images are float32 "b h w 3" in [0, 255], any size."""

    name: str
    distance_name: str  # of the Fréchet distance on its features; "FID" is Inception's alone
    num_features: int
    init: Callable[[jax.Array], Any]  # key -> params
    apply: Callable[[Any, jax.Array], Outputs]  # params, images -> Outputs
