"""What the configs of all methods have in common."""

import dataclasses

from resgen_jax.convert import weights
from resgen_jax.core import seeds
from resgen_jax.evaluation import online
from resgen_jax.runtime import mesh
from resgen_jax.training import loop, optimizer

SECTIONS = {
    "optimizer": optimizer.Spec,
    "mesh": mesh.Spec,
    "train": loop.Spec,
    "evaluation": online.Spec,
}
# Fields that are not set, because another one says the same.
TAKEN_FROM = {
    ("model", "image_size"): "data.image_size",
    ("model", "channels"): "data.channels",
    ("quantizer", "code_dim"): "model.code_dim",
}
CHOICES = {
    "optimizer.decay": optimizer.DECAYS,
    "optimizer.matrices": optimizer.MATRICES,
    "evaluation.features": ("", online.NO_NETWORK, *weights.FEATURE_NETWORKS),
}


@dataclasses.dataclass(frozen=True)
class Scalars:
    """What a config holds beside its sections."""

    task: str
    seed: int = 0  # of the first parameters, of the order of the data and of all that is drawn
    source: str = ""  # the config file
    synthetic_data: bool = False  # trained on noise, to measure speed

    def __post_init__(self):
        seeds.check(self.seed, "config.seed")
