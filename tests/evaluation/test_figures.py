"""Key figures are read from the metrics, set against their goals, and never left out."""

import pytest

from resgen_jax.evaluation import figures

RECONSTRUCTION = {
    "psnr": 24.4,
    "psnr_by_depth": [15.3, 20.0, 24.4],
    "usage_by_level": [1.0, 0.97, 0.99],
    "perplexity_by_level": [60.2, 44.4, 51.0],
    "codebook_size": 64,
    "num_images": 360,
}
SAMPLES = {
    "class_agreement": 0.981,
    "class_agreement_reconstructions": 1.0,
    "judge_accuracy": 0.9917,
    "frechet_distance": 1.324,
    "frechet_distance_reconstructions": 0.14,
    "frechet_distance_floor": 0.231,
    "within_class_variance_ratio": 0.56,
    "within_class_variance_ratio_reconstructions": 0.97,
    "within_class_variance_ratio_held_out": 1.06,
    "num_samples": 2000,
}


def by_name(**changes):
    targets = changes.pop("targets", None)
    found = figures.key_figures(RECONSTRUCTION, SAMPLES | changes, targets)
    return {figure.name: figure for figure in found}


def test_values_and_what_stands_beside_them():
    found = by_name()
    assert found["Reconstruction PSNR"].value == "24.4 dB"
    assert "15.3 dB with one code; rises with every depth" in found["Reconstruction PSNR"].beside
    assert found["Codebook usage"].value == "97.0 %"
    assert found["Codebook perplexity"].value == "44 to 60"
    assert found["Class agreement"].value == "98.1 %"
    assert "2,000 samples" in found["Class agreement"].meaning
    assert found["Fréchet distance"].value == "1.32"
    assert "0.23 (the floor), reconstructions 0.14" in found["Fréchet distance"].beside
    assert found["Variety within a class"].value == "0.56"
    assert "1.06" in found["Variety within a class"].beside
    assert found["Accuracy of the judge"].value == "99.2 %"
    assert all(figure.is_met is None for figure in found.values())


@pytest.mark.parametrize(
    ("name", "key", "met", "missed", "goal"),
    [
        ("Reconstruction PSNR", "psnr", 23, 24.5, "goal ≥ 24.5 dB"),
        ("Codebook usage", "usage", 0.95, 0.98, "goal ≥ 98 %"),
        ("Class agreement", "class_agreement", 0.95, 0.985, "goal ≥ 98.5 %"),
        ("Fréchet distance", "frechet_distance", 1.6, 1.2, "goal ≤ 1.2"),
        ("Variety within a class", "within_class_variance_ratio", 0.5, 0.6, "goal ≥ 0.6"),
        ("Accuracy of the judge", "judge_accuracy", 0.97, 0.995, "goal ≥ 99.5 %"),
    ],
)
def test_goals_are_met_or_missed(name, key, met, missed, goal):
    assert by_name(targets={key: met})[name].is_met is True
    figure = by_name(targets={key: missed})[name]
    assert figure.is_met is False
    assert figure.beside.startswith(goal)


def test_how_near_samples_are_to_training_images_stands_where_it_was_measured():
    assert "Nearest training image" not in by_name()
    found = by_name(nearest_training=38.77, nearest_training_held_out=39.85)
    assert found["Nearest training image"].value == "38.8"
    assert found["Nearest training image"].beside == "held-out images 39.9"


def test_a_psnr_that_falls_is_told():
    found = figures.key_figures(RECONSTRUCTION | {"psnr_by_depth": [15.0, 14.0, 24.4]}, SAMPLES)
    assert "does not rise" in found[0].beside


def test_a_figure_that_could_not_be_measured_is_told():
    found = by_name(frechet_distance=None, targets={"frechet_distance": 2})
    assert found["Fréchet distance"].value == "too few images"
    assert found["Fréchet distance"].is_met is False
