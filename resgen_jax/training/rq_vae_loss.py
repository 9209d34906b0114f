"""What the RQ-VAE's training minimises: images as they were, latents near their codes."""

import dataclasses
from collections.abc import Iterator
from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.core import build, errors
from resgen_jax.features import lpips
from resgen_jax.losses import quantization, reconstruction
from resgen_jax.nn import flops
from resgen_jax.quantizers import gradients
from resgen_jax.tokenizers import rq_vae
from resgen_jax.training.state import Metrics, PyTree

DISCRIMINATOR = "discriminator"

COMMITMENTS = {
    "total": lambda latents, sums: quantization.commitment_loss(latents, sums[..., -1, :]),
    "prefix": lambda latents, sums: (
        quantization.prefix_commitment_loss(latents, sums) / sums.shape[-2]
    ),
}


@dataclasses.dataclass(frozen=True)
class LossSpec:
    """What is minimised, and how the quantizer joins in.

    `commitment` "prefix" is the mean over levels, as in RQ-VAE's own code; its paper adds them up,
    a `commitment_weight` of depth times as much.
    """

    reconstruction: str = "l2"  # how far pixels are from the image's
    reconstruction_weight: float = 1.0  # of that in the loss
    perceptual: str = ""  # LPIPS' backbone; empty = no LPIPS
    perceptual_weight: float = 1.0  # of LPIPS in the loss
    weights: str = ""  # folder with the backbone's weights; empty = where weights are looked for
    # What pulls the latents: the sum of all codes, or the sum up to every depth.
    commitment: str = "total"
    commitment_weight: float = 0.25  # of that pull in the loss
    # How the gradient passes the quantizer: as it is, or turned as the vector was.
    gradient: str = "straight_through"
    depth_drop_rate: float = 0.0  # share of images decoded from a random number of levels
    # Steps without quantization, 1 at least: k-means starts the codebooks on the last.
    start_step: int = 100
    # Share that the average of the parameters, which is used later, keeps at each step.
    average_decay: float = 0.999

    def __post_init__(self):
        known = {
            "reconstruction": reconstruction.KINDS,
            "perceptual": ("", *lpips.BACKBONES),
            "commitment": COMMITMENTS,
            "gradient": gradients.GRADIENTS,
        }
        build.check_known(self, known, "loss.")
        for name in ("depth_drop_rate", "average_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise errors.UserError(f"loss.{name} is {getattr(self, name)}; expected 0 to 1")
        for name in (
            "reconstruction_weight",
            "perceptual_weight",
            "commitment_weight",
            "start_step",
        ):
            if getattr(self, name) < 0:
                raise errors.UserError(f"loss.{name} is {getattr(self, name)}; expected 0 or more")


class ImageLoss:
    """Fidelity of the images made, in pixels and to the eye."""

    def __init__(self, spec: LossSpec, model: rq_vae.Spec, perceptual_params: PyTree):
        self.spec, self.model = spec, model
        self.has_frozen = bool(spec.perceptual)
        made = lpips.make(spec.perceptual) if self.has_frozen else None
        self._lpips = cast(lpips.Lpips, made)  # asked for only where there is one
        self._params = perceptual_params

    def frozen(self) -> PyTree:
        """The perceptual network's weights, or zeros in their place."""
        if self._params is not None:
            return jax.tree.map(jnp.asarray, self._params)
        shapes = jax.eval_shape(self._lpips.init, jax.random.key(0))
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def __call__(
        self,
        made: Float[Array, "b h w c"],
        images: Float[Array, "b h w c"],
        statistics: PyTree,
        num_images: int,
    ) -> tuple[Float[Array, ""], Metrics]:
        """What these images add to the loss of a batch of `num_images`, and to its parts."""
        pixel_loss = jnp.sum(reconstruction.KINDS[self.spec.reconstruction](made, images))
        metrics = {"reconstruction_loss": pixel_loss / num_images}
        loss = self.spec.reconstruction_weight * metrics["reconstruction_loss"]
        if self.has_frozen:
            perceived = self._lpips.loss(statistics["perceptual"], *self._colours(made, images))
            metrics["perceptual_loss"] = jnp.sum(perceived) / num_images
            loss = loss + self.spec.perceptual_weight * metrics["perceptual_loss"]
        return loss, metrics

    def distance(
        self, made: Float[Array, "b h w c"], images: Float[Array, "b h w c"], statistics: PyTree
    ) -> Float[Array, "b"]:
        """LPIPS of each image, as it is published; gray ones as three equal colours."""
        return self._lpips.distance(statistics["perceptual"], *self._colours(made, images))

    def flops_per_example(self) -> float:
        """Of the perceptual distance: two images forward, and one of them back."""
        if not self.has_frozen:
            return 0.0
        size = self.model.image_size
        image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        params = jax.eval_shape(self._lpips.init, jax.random.key(0))
        return 1.5 * flops.count(self._lpips.loss, params, image, image)

    def _colours(self, *images: Float[Array, "b h w c"]) -> Iterator[Float[Array, "b h w 3"]]:
        return (jnp.repeat(part, 3 // self.model.channels, axis=-1) for part in images)
