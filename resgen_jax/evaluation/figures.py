"""The key figures of a run in words: value, meaning, and what to hold it against."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Figure:
    """One row of the table; `is_met` is None where there is no target."""

    name: str
    value: str
    meaning: str
    beside: str = ""
    is_met: bool | None = None


def key_figures(
    reconstruction: Mapping[str, Any],
    samples: Mapping[str, Any],
    targets: Mapping[str, float | int] | None = None,
) -> list[Figure]:
    """Rows for what `reconstruction.evaluate` and `images.judge_samples` return.

    `targets` gives the least value that is good enough, by name: `psnr`, `usage`, `judge_accuracy`,
    `class_agreement`, `within_class_variance_ratio`; and the largest of `frechet_distance`.
    """
    targets = dict(targets or {})
    return [*_tokenizer_figures(reconstruction, targets), *_sample_figures(samples, targets)]


def _tokenizer_figures(
    found: Mapping[str, Any], targets: Mapping[str, float | int]
) -> list[Figure]:
    psnr, size = found["psnr_by_depth"], found["codebook_size"]
    usage = min(found["usage_by_level"])
    least, most = min(found["perplexity_by_level"]), max(found["perplexity_by_level"])
    rises = all(low < high for low, high in itertools.pairwise(psnr))
    by_depth = "rises with every depth" if rises else "does not rise with every depth"
    return [
        _against(
            "Reconstruction PSNR",
            f"{found['psnr']:.1f} dB",
            f"How exactly {found['num_images']:,} held-out images come back from their codes, "
            f"with {len(psnr)} codes a position.",
            f"{psnr[0]:.1f} dB with one code; {by_depth}",
            found["psnr"],
            targets.get("psnr"),
            "dB",
        ),
        _against(
            "Codebook usage",
            f"{100 * usage:.1f} %",
            f"Share of the {size:,} codes in use at the level that uses the fewest.",
            "100 % = no dead codes",
            usage,
            targets.get("usage"),
            "%",
        ),
        Figure(
            "Codebook perplexity",
            f"{least:.0f} to {most:.0f}",
            "How many codes a level uses in effect; the least and the most of all levels.",
            f"at most {size:,}",
        ),
    ]


def _sample_figures(found: Mapping[str, Any], targets: Mapping[str, float | int]) -> list[Figure]:
    floor, rebuilt = (
        _number(found[f"frechet_distance_{name}"], "{:.2f}")
        for name in ("floor", "reconstructions")
    )
    real = _number(found["within_class_variance_ratio_held_out"], "{:.2f}")
    return [
        _against(
            "Class agreement",
            f"{100 * found['class_agreement']:.1f} %",
            f"Share of {found['num_samples']:,} samples that a classifier of the real images (the "
            "judge) takes for the class that was asked for.",
            f"reconstructions {100 * found['class_agreement_reconstructions']:.1f} %",
            found["class_agreement"],
            targets.get("class_agreement"),
            "%",
        ),
        _against(
            "Fréchet distance",
            _number(found["frechet_distance"], "{:.2f}"),
            "How far the samples are from the training images in the features of the judge, not "
            "comparable with an FID; lower is closer.",
            f"held-out images {floor} (the floor), reconstructions {rebuilt}",
            found["frechet_distance"],
            targets.get("frechet_distance"),
            "",
            is_least=False,
        ),
        _against(
            "Variety within a class",
            _number(found["within_class_variance_ratio"], "{:.2f}"),
            "Variance of the samples of a class over that of the real images: 1 is as varied, 0 is "
            "one image a class. Guidance trades it for a lower distance.",
            f"real held-out images {real}",
            found["within_class_variance_ratio"],
            targets.get("within_class_variance_ratio"),
            "",
        ),
        *_nearness(found),
        _against(
            "Accuracy of the judge",
            f"{100 * found['judge_accuracy']:.1f} %",
            "On held-out real images: how far the figures above can be trusted.",
            "",
            found["judge_accuracy"],
            targets.get("judge_accuracy"),
            "%",
        ),
    ]


def _nearness(found: Mapping[str, Any]) -> list[Figure]:
    """How near samples are to what was trained on, where that was measured."""
    if "nearest_training" not in found:
        return []
    return [
        Figure(
            "Nearest training image",
            f"{found['nearest_training']:.1f}",
            "Root mean square difference of pixels, of 255, between a sample and the training "
            "image most like it; the median. Near 0 are copies.",
            f"held-out images {found['nearest_training_held_out']:.1f}",
        )
    ]


def _against(
    name: str,
    shown: str,
    meaning: str,
    beside: str,
    value: float | None,
    target: float | int | None,
    unit: str,
    *,
    is_least: bool = True,
) -> Figure:
    """A figure with its target, if it has one, in front of what else stands beside it."""
    if target is None:
        return Figure(name, shown, meaning, beside)
    goal = f"{100 * target:g} %" if unit == "%" else f"{target:g} {unit}".strip()
    bound = f"goal {'≥' if is_least else '≤'} {goal}"
    if value is None:
        is_met = False
    else:
        is_met = value >= target if is_least else value <= target
    return Figure(name, shown, meaning, "; ".join(filter(None, (bound, beside))), is_met)


def _number(value: float | None, pattern: str) -> str:
    return "too few images" if value is None else pattern.format(value)
