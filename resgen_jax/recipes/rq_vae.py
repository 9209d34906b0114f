"""RQ-VAE: images to stacks of codes and back, as the recipe `rq_vae`."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from resgen_jax.convert import exports, weights
from resgen_jax.core import build, errors
from resgen_jax.data import sources
from resgen_jax.features import lpips
from resgen_jax.losses import adversarial, reconstruction
from resgen_jax.nn import conv2d
from resgen_jax.quantizers import gradients
from resgen_jax.quantizers import interface as quantizers
from resgen_jax.recipes import interface, on_images, shared
from resgen_jax.tokenizers import discriminators, quantized, rq_vae
from resgen_jax.tokenizers import interface as tokenizers
from resgen_jax.training import adversary, optimizer, rq_vae_loss, rq_vae_task


@dataclasses.dataclass(frozen=True)
class QuantizerSpec(quantizers.Spec):
    """Sizes of the codebooks, and how they learn; see `quantizers.interface.LEARNERS`."""

    learner: str = "ema"  # how the codebooks learn

    def __post_init__(self):
        super().__post_init__()
        if self.learner not in quantizers.LEARNERS:
            hint = build.nearest(self.learner, quantizers.LEARNERS)
            raise errors.UserError(f"quantizer.learner is {self.learner!r}; {hint}")

    @property
    def sizes(self) -> quantizers.Spec:
        """What the learner is made with: the section without the learner's name."""
        names = [field.name for field in dataclasses.fields(quantizers.Spec)]
        return quantizers.Spec(**{name: getattr(self, name) for name in names})


def model(config: Any, data: interface.Data | None = None) -> tokenizers.Tokenizer:
    """The tokenizer of a config; the data have no say in it."""
    del data
    sizes = config.quantizer.sizes
    return quantized.make(config.model, sizes, quantizers.make(config.quantizer.learner, sizes))


def task(
    config: Any,
    data: interface.Data | None = None,
    pretrained: Any = None,
    *,
    has_begun: bool = False,
) -> rq_vae_task.RqVaeTask:
    """The task of a config; `has_begun` where its codebooks come from another run."""
    del data
    sizes = config.quantizer.sizes
    return rq_vae_task.RqVaeTask(
        config.model,
        sizes,
        quantizers.make(config.quantizer.learner, sizes),
        config.loss,
        config.optimizer,
        config.train.num_steps,
        config.adversarial,
        pretrained,
        rq_vae_task.HAVE_BEGUN if has_begun else None,
    )


def pretrained(config: Any) -> Any:
    """The weights of the perceptual loss, or None where the config has none."""
    if not config.loss.perceptual:
        return None
    return weights.load_lpips(config.loss.perceptual, config.loss.weights)[1]


def random_pretrained(config: Any) -> Any:
    """Random weights in their place."""
    if not config.loss.perceptual:
        return None
    return lpips.make(config.loss.perceptual).init(jax.random.key(0))


def not_yet(config: Any, step: int) -> str:
    """Why the codebooks of a run at `step` are of no use, or nothing."""
    if config.train.init_from or step >= config.loss.start_step:
        return ""
    return (
        f"its codebooks begin at loss.start_step {config.loss.start_step}; train it further, or "
        "name a later step"
    )


def learnt_of(statistics: Any) -> Any:
    """What learns and its average; of a trained tokenizer only the average is kept."""
    quantizer = statistics["quantizer"]
    return {"quantizer": quantizer, "learner": jax.tree.map(jnp.copy, quantizer)}


def export(config: Any, data: Any, tree: Any, fields: Any, codes: Any = None) -> exports.Export:
    """What `resgen convert` writes of a run."""
    del data, codes
    return exports.of_rq_vae(
        config.model,
        config.quantizer.sizes,
        config.quantizer.learner,
        tree["params"],
        tree["statistics"]["quantizer"],
        fields,
    )


RECIPE = interface.Recipe(
    name="rq_vae",
    role=on_images.ROLE,
    sections={
        "data": sources.Spec,
        "model": rq_vae.Spec,
        "quantizer": QuantizerSpec,
        "loss": rq_vae_loss.LossSpec,
        **shared.SECTIONS,
    },
    optional={"adversarial": adversary.Spec},
    choices={
        **on_images.CHOICES,
        "model.attention": conv2d.ATTENTIONS,
        "model.bridge_size": rq_vae.BRIDGE_SIZES,
        "model.dtype": rq_vae.DTYPES,
        "quantizer.learner": quantizers.LEARNERS,
        "loss.reconstruction": reconstruction.KINDS,
        "loss.perceptual": ("", *lpips.BACKBONES),
        "loss.commitment": rq_vae_loss.COMMITMENTS,
        "loss.gradient": gradients.GRADIENTS,
        "adversarial.kind": discriminators.KINDS,
        "adversarial.normalization": discriminators.NORMALIZATIONS,
        "adversarial.loss": adversarial.KINDS,
        "adversarial.weighting": adversary.WEIGHTINGS,
        "adversarial.optimizer.decay": optimizer.DECAYS,
        "adversarial.optimizer.matrices": optimizer.MATRICES,
        **shared.CHOICES,
    },
    model=model,
    task=task,
    pretrained=pretrained,
    random_pretrained=random_pretrained,
    not_yet=not_yet,
    num_blocks=lambda config: config.model.num_blocks,
    export=export,
    learnt=("learner", "quantizer"),
    learnt_of=learnt_of,
    auxiliary={rq_vae_task.DISCRIMINATOR: "discriminator"},
)
