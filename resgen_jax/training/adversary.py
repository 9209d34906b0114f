"""The adversary of an image tokenizer: a discriminator, its weight against fidelity, its step."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from resgen_jax.core import build, errors
from resgen_jax.losses import adversarial
from resgen_jax.nn import flops
from resgen_jax.tokenizers import discriminators
from resgen_jax.training import optimizer
from resgen_jax.training.state import Metrics, PyTree

# From the norms of two gradients at the decoder's last layer, of fidelity and of the adversary's
# loss, to what the latter is multiplied with (before `weight`).
WEIGHTINGS: dict[str, Callable] = {
    "adaptive": adversarial.adaptive_weight,
    "fixed": lambda fidelity, adversary: jnp.ones_like(fidelity),
}
OptimizerSpec = optimizer.Spec  # the name of the field below hides the module's
# Little momentum, as VQGAN and RQ-VAE train both sides.
OPTIMIZER = optimizer.Spec(learning_rate=1e-4, b1=0.5, b2=0.9)
NOT_NEGATIVE = ("weight", "start_step", "r1_weight", "lecam_weight")


@dataclasses.dataclass(frozen=True)
class Spec:
    """Which discriminator, which losses, and when it joins in.

    RQ-VAE takes a patch_gan of 2 layers, hinge, adaptive weight x 0.75, from the start; MaskGIT a
    style_gan, non_saturating, fixed weight 0.1, r1_weight 10.
    """

    kind: str = "patch_gan"  # which discriminator
    width: int = 64  # channels of its first layer
    num_layers: int = 2  # of a patch_gan that halve the sides
    normalization: str = "batch"  # of a patch_gan's layers
    loss: str = "hinge"  # of both sides
    weight: float = 0.75  # of the adversary in the tokenizer's loss
    weighting: str = "adaptive"  # that weight as it is, or times a ratio of gradients
    start_step: int = 0  # neither side sees the other before
    r1_weight: float = 0.0  # times half the squared gradient at real images; 0 = off
    r1_every: int = 16  # steps between two of its turns, each counting for all of them
    lecam_weight: float = 0.0  # of LeCAM's pull to the moving averages of scores; 0 = off
    lecam_decay: float = 0.99  # share that those averages keep at each step
    optimizer: OptimizerSpec = OPTIMIZER  # of the discriminator

    def __post_init__(self):
        for name, known in (("loss", adversarial.KINDS), ("weighting", WEIGHTINGS)):
            value = getattr(self, name)
            if value not in known:
                hint = build.nearest(value, known)
                raise errors.UserError(f"adversarial.{name} is {value!r}; {hint}")
        for name in NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise errors.UserError(
                    f"adversarial.{name} is {getattr(self, name)}; expected 0 or more"
                )
        if self.r1_every < 1 or not 0 <= self.lecam_decay < 1:
            raise errors.UserError(
                f"adversarial.r1_every is {self.r1_every} and lecam_decay {self.lecam_decay}; "
                "expected at least 1, and 0 <= lecam_decay < 1"
            )
        if self.optimizer.num_microbatches != 1:
            raise errors.UserError(
                f"adversarial.optimizer.num_microbatches is {self.optimizer.num_microbatches}, but "
                "the discriminator sees the whole batch; set optimizer.num_microbatches instead"
            )


class Adversary:
    """The discriminator of `spec` as pure functions; `scores` are moving averages for LeCAM."""

    def __init__(self, spec: Spec, image_size: int, channels: int):
        self.spec, self.kind = spec, adversarial.KINDS[spec.loss]
        self.network = discriminators.make(
            discriminators.Spec(
                image_size=image_size,
                channels=channels,
                kind=spec.kind,
                width=spec.width,
                num_layers=spec.num_layers,
                normalization=spec.normalization,
            )
        )
        self._image = jax.ShapeDtypeStruct((1, image_size, image_size, channels), jnp.float32)

    def init_scores(self) -> PyTree:
        """Averages before the first step."""
        return {"real": jnp.zeros(()), "made": jnp.zeros(())}

    def is_on(self, step: Int[Array, ""]) -> Array:
        """Whether the two sides see each other at this step."""
        return step >= self.spec.start_step

    def pull(
        self,
        params: PyTree,
        made: Float[Array, "b h w c"],
        norms_at_last_layer: Callable[
            [Float[Array, "b h w c"]], tuple[Float[Array, ""], Float[Array, ""]]
        ],
        step: Int[Array, ""],
    ) -> tuple[Float[Array, ""], Metrics, Float[Array, "b h w c"]]:
        """What the adversary adds to the decoder's loss: the value, and its gradient at the images.

        `made` is the whole batch. `norms_at_last_layer` takes that gradient to two norms at the
        last layer's kernel: the one of fidelity, and its own.
        """

        def maker_loss(made):
            return jnp.mean(self.kind.maker(self.network.apply(params, made)))

        loss, gradient = jax.value_and_grad(maker_loss)(made)
        weighting = WEIGHTINGS[self.spec.weighting]
        weight = self.spec.weight * weighting(*norms_at_last_layer(gradient))
        weight = jnp.where(self.is_on(step), weight, 0.0)
        metrics = {"adversarial_loss": loss, "adversarial_weight": weight}
        return weight * loss, metrics, weight * gradient

    def gradients(
        self,
        params: PyTree,
        scores: PyTree,
        real: Float[Array, "b h w c"],
        made: Float[Array, "b h w c"],
        step: Int[Array, ""],
    ) -> tuple[PyTree, Metrics, PyTree]:
        """Gradients of the discriminator's loss, its metrics, and the next averages of scores."""
        gradients, metrics = jax.grad(self._loss, has_aux=True)(params, scores, real, made, step)
        decay = self.spec.lecam_decay
        moved = {
            name: decay * scores[name] + (1 - decay) * metrics[f"score/{name}"] for name in scores
        }
        nothing = jax.tree.map(jnp.zeros_like, gradients), scores
        # Not a `cond`, which would save the work before the start: on CPU, the convolutions inside
        # one took six times as long.
        gradients, scores = jax.tree.map(
            lambda new, old: jnp.where(self.is_on(step), new, old), (gradients, moved), nothing
        )
        return gradients, metrics, scores

    def flops_per_example(self) -> float:
        """Both sides' passes: the maker's there and back, real and made images with gradients."""
        params = jax.eval_shape(self.network.init, jax.random.key(0))
        return 8 * flops.count(self.network.apply, params, self._image)

    def _loss(self, params, scores, real, made, step):
        """The discriminator's loss, and its metrics."""
        score = lambda images: self.network.apply(params, images)  # noqa: E731
        real_scores, made_scores = score(real), score(made)
        loss = jnp.mean(self.kind.real(real_scores)) + jnp.mean(self.kind.made(made_scores))
        metrics = {
            "discriminator_loss": loss,
            "score/real": jnp.mean(real_scores),
            "score/made": jnp.mean(made_scores),
        }
        if self.spec.lecam_weight:
            held = adversarial.lecam(real_scores, made_scores, scores["real"], scores["made"])
            loss = loss + self.spec.lecam_weight * held
        if self.spec.r1_weight:
            is_due = step % self.spec.r1_every == 0
            penalty = jax.lax.cond(
                is_due,
                lambda: jnp.mean(adversarial.r1(score, real)),
                lambda: jnp.zeros(()),
            )
            loss = loss + 0.5 * self.spec.r1_weight * self.spec.r1_every * penalty
            metrics["r1_penalty"] = penalty
        return loss, metrics
