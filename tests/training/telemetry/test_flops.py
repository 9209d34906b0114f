"""Rates of arithmetic, by hand."""

import pytest

from resgen_jax.training.telemetry import flops


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v4", 275e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5", 459e12),
        ("TPU v5p", 459e12),
        ("TPU v6 lite", 918e12),
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("cpu", None),
    ],
)
def test_peak_is_that_of_the_longest_matching_name(kind, peak):
    assert flops.peak(kind) == peak


def test_mfu_is_the_share_of_all_chips():
    rates = flops.rates(2e9, 1000.0, 4, "TPU v4")
    known = {"model_flops_per_second": 2e12, "tflops_per_device": 0.5}
    assert rates == known | {"mfu": pytest.approx(2e12 / (4 * 275e12))}
    assert flops.rates(2e9, 1000.0, 4, "cpu") == known
