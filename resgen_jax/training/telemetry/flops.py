"""Model FLOPs utilisation: the share of a chip's peak that the model's own arithmetic takes."""

# Peak dense bfloat16 FLOP/s of one chip as JAX names it; the longest matching start counts.
# TPU: cloud.google.com/tpu/docs/system-architecture-tpu-vm, one page per generation.
# NVIDIA: the data sheets of A100, H100 and H200, without sparsity.
PEAK_FLOPS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,  # v5e
    "TPU v5e": 197e12,
    "TPU v5": 459e12,  # v5p
    "TPU v6 lite": 918e12,  # v6e
    "TPU v6e": 918e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989.4e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H200": 989.4e12,
}

TELLING = 0.1  # TFLOP/s of a device: below, on a CPU or with a toy, the figure says nothing


def peak(device_kind: str) -> float | None:
    """Peak FLOP/s of a device kind, or None where it is not known (a CPU, for one)."""
    matches = [name for name in PEAK_FLOPS if device_kind.startswith(name)]
    return PEAK_FLOPS[max(matches, key=len)] if matches else None


def rates(
    flops_per_example: float, examples_per_second: float, num_devices: int, device_kind: str
) -> dict[str, float]:
    """`model_flops_per_second` of the whole mesh and `tflops_per_device`, 1e12 a second.

    And `mfu` in [0, 1] where the peak is known.
    """
    per_second = flops_per_example * examples_per_second
    known = peak(device_kind)
    share = {"mfu": per_second / (known * num_devices)} if known else {}
    each = per_second / num_devices / 1e12
    return {"model_flops_per_second": per_second, "tflops_per_device": each, **share}
