"""Convolutions with the batch normalisations behind them, as frozen networks have them: in one."""

import numpy as np
from jaxtyping import Float

from resgen_jax.convert import rules

EPSILON = 1e-3  # TensorFlow's, added to variances
STATISTICS = ("scale", "bias", "mean", "variance")


def shapes(kernel: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes of a convolution's kernel and of what normalises its outputs."""
    return {"kernel": kernel, **dict.fromkeys(STATISTICS, kernel[-1:])}


def table(convolution: str, norm: str, target: str) -> list[rules.Rule]:
    """The rules for both, by the names that PyTorch gives their arrays."""
    return [
        rules.copy(f"{convolution}.weight", f"{target}/kernel", rules.kernel),
        *rules.norm(norm, target),
        rules.copy(f"{norm}.running_mean", f"{target}/mean"),
        rules.copy(f"{norm}.running_var", f"{target}/variance"),
    ]


def folded(
    kernel: Float[np.ndarray, "i j c d"],
    scale: Float[np.ndarray, "d"],
    bias: Float[np.ndarray, "d"],
    mean: Float[np.ndarray, "d"],
    variance: Float[np.ndarray, "d"],
) -> tuple[Float[np.ndarray, "i j c d"], Float[np.ndarray, "d"]]:
    """A convolution and the normalisation behind it as one convolution with a bias."""
    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + EPSILON)
    return (kernel * factor).astype(np.float32), (bias - mean * factor).astype(np.float32)
