"""The section `evaluation` of a config: distances to real images, measured while training."""

import dataclasses

from resgen_jax.core import errors, seeds

NO_NETWORK = "none"


@dataclasses.dataclass(frozen=True)
class Spec:
    """Off while `features` is empty; the last step is always measured."""

    # The network of the distance; none = of a tokenizer LPIPS and SSIM alone; empty = off.
    features: str = ""
    weights: str = ""  # folder of weights; empty = where they are looked for anyway
    every: int = 0  # a multiple of train.evaluate_every; 0 = whenever that is due
    num_samples: int = 1000  # of a generator to draw; of a tokenizer, held-out images
    num_reference: int = 0  # training images that samples are compared with; 0 = all
    batch_size: int = 64  # images drawn or measured at a time
    num_shown: int = 16  # samples or reconstructions in TensorBoard; 0 = none
    seed: int = 0  # of the samples: the same at every step
    guidance_scale: float = -1.0  # below 0 = the sampler's own
    tokenizer: str = ""  # of a generator: its run directory, if it has moved

    def __post_init__(self):
        for name, least in (
            ("every", 0),
            ("num_samples", 2),
            ("num_reference", 0),
            ("num_shown", 0),
        ):
            self._check(name, least)
        self._check("batch_size", 1)
        seeds.check(self.seed, "evaluation.seed")

    def _check(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            raise errors.UserError(
                f"evaluation.{name} is {getattr(self, name)}; expected {least} or more"
            )

    @property
    def is_on(self) -> bool:
        """Whether anything is measured."""
        return bool(self.features)

    def check_cadence(self, evaluate_every: int) -> None:
        """Raises UserError unless `every` falls on steps at which the run measures anyway."""
        if self.every and (not evaluate_every or self.every % evaluate_every):
            raise errors.UserError(
                f"evaluation.every is {self.every}; expected a multiple of train.evaluate_every, "
                f"which is {evaluate_every}"
            )

    def is_due(self, step: int, num_steps: int) -> bool:
        """Whether to measure at this step, one at which the run measures."""
        return step == num_steps or not self.every or step % self.every == 0
