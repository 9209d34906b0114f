"""A small random network in the shape of the frozen ones: every output, any image size."""

import jax
import jax.numpy as jnp

from resgen_jax.evaluation import features
from resgen_jax.features import interface


def network(name="tiny", distance_name="FD-tiny", num_features=6, has_all=True):
    """Features of the image's quarters' mean colours; spatial ones and logits if `has_all`."""

    def init(key):
        return {"kernel": jax.random.normal(key, (12, num_features)) / 40}

    def apply(params, images):
        height, width = images.shape[1] // 2, images.shape[2] // 2
        quarters = images[:, : 2 * height, : 2 * width]
        quarters = quarters.reshape(len(images), 2, height, 2, width, 3).mean(axis=(2, 4))
        values = jnp.tanh((quarters.reshape(len(images), 12) - 127.5) @ params["kernel"])
        spatial = quarters.reshape(len(images), 12)[:, :4] / 255
        return interface.Outputs(values, *((spatial, 3 * values) if has_all else (None, None)))

    return interface.FeatureNetwork(name, distance_name, num_features, init, apply)


def extractor(mesh, seed=0, **settings):
    """The network with random weights on a mesh."""
    made = network(**settings)
    return features.Extractor(made, made.init(jax.random.key(seed)), mesh)
