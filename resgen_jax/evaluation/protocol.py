"""How figures were taken, in words, so that a record says what may be compared with what."""

import pathlib
import subprocess
from collections.abc import Iterable

import resgen_jax
from resgen_jax.metrics import inception_score, mind, precision_recall

WORDS = {
    "FID": "Frechet distance of Inception's pooled features, float64, covariances over N - 1; the "
    "network resizes uint8 images by itself",
    "sFID": "the same of Inception's first 7 channels of mixed_6/conv",
    "FD": "Frechet distance of this network's pooled features, float64; not FID, and to be "
    "compared with this network's alone",
    "MIND": f"squared 2-Wasserstein distance along a line, mean over {mind.NUM_DIRECTIONS:,} "
    f"directions of NumPy's RandomState({mind.SEED}), times the number of features; of all samples "
    "and up to 10,000 reference images",
    "IS": f"inception score, mean over splits of {inception_score.SPLIT_SIZE} in the order of the "
    "samples (ADM), Inception's logits without bias",
    "precision": f"share of samples in the manifold of up to 10,000 reference images, "
    f"k = {precision_recall.NUM_NEIGHBOURS} (ADM), float32",
    "recall": f"share of those reference images in the manifold of all samples, "
    f"k = {precision_recall.NUM_NEIGHBOURS}",
    "precision_adm": "precision by distances in float16, as ADM's evaluator takes them",
    "recall_adm": "recall by distances in float16, as ADM's evaluator takes them",
    "class_agreement": "share of samples that a logistic regression on this network's features of "
    "up to 10,000 real training images takes for the class asked for",
    "judge_accuracy": "share of up to 2,000 held-out real images that the same regression gets "
    "right",
    "class_agreement-judge": "share of samples that the judge, a residual network trained on the "
    "real training images alone, takes for the class asked for",
    "judge_accuracy-judge": "share of held-out real images that the judge gets right",
    "variety": "within-class variance of the samples over that of real training images, in the "
    "features of the judge; 1 is as varied, 0 is one image a class",
    "PSNR": "dB, mean over images, pixels cut to [-1, 1], value range 2, not rounded to bytes",
    "SSIM": "Gaussian window 11 x 11, sigma 1.5, K1 0.01, K2 0.03, each colour by itself, value "
    "range 2, mean over images",
    "LPIPS": "v0.1, images in [-1, 1] at their own size, mean over images",
    "usage": "share of the codebook used by these images, by level",
    "perplexity": "exp of the entropy of the codes, by level",
}
REFERENCE_OF_RECONSTRUCTIONS = "the same held-out images as the tokenizer sees them (cropped)"


def words(metrics: Iterable[str]) -> dict[str, str]:
    """The protocol of each metric: by its own name, or by that of its family."""
    found = {}
    for name in metrics:
        family = name if name in WORDS else name.partition("-")[0]
        family = family if family in WORDS else family.removeprefix("r")
        if family in WORDS:
            found[name] = WORDS[family]
    return found


def version() -> dict[str, str | None]:
    """The package's version, and the commit where it runs from a checkout."""
    return {"resgen_jax": resgen_jax.__version__, "commit": _commit()}


def _commit() -> str | None:
    root = pathlib.Path(resgen_jax.__file__).parents[1]
    if not (root / ".git").exists():  # installed: another repository around it says nothing
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
