"""What a tokenizer asks of the way in which its codebooks learn, chosen by passing a function."""

from collections.abc import Callable

from resgen_jax.core import build, errors
from resgen_jax.quantizers import averaged_learners, fixed_grids, gradient_learning, sim_vq_learning
from resgen_jax.quantizers.learner import Learner, Quantized, Spec, State

__all__ = ["LEARNERS", "Learner", "Quantized", "Spec", "State", "make"]

# What `quantizer.learner` of a config may be.
LEARNERS: dict[str, Callable[[Spec], Learner]] = {
    # Moving averages of what chose each code.
    "ema": averaged_learners.ema_rvq,
    "shared_ema": averaged_learners.shared_ema_rvq,  # one codebook for all levels
    "cosine": averaged_learners.cosine_rvq,  # codes by direction
    "probabilistic": averaged_learners.probabilistic,  # CLaM-TTS
    # Adam on the codebook loss, with `learning_rate`.
    "gradient": gradient_learning.gradient_rvq,  # VQ-VAE; taming's and VAR's tokenizers
    "sim_vq": sim_vq_learning.sim_rvq,  # a linear map of codebooks that never change
    # Grids that stay as they are: `codebook_size` and `code_dim` have to suit each other.
    "lfq": fixed_grids.lfq,  # signs, half as large at each level
    "fsq": fixed_grids.fsq,  # even steps, finer at each level
}


def make(name: str, spec: Spec) -> Learner:
    """The learner of that name; raises UserError naming the nearest for an unknown one."""
    if not isinstance(name, str) or name not in LEARNERS:
        raise errors.UserError(f"no quantizer {name!r}; {build.nearest(str(name), LEARNERS)}")
    return LEARNERS[name](spec)
