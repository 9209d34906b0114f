"""The watermark is the highest of what devices tell, and the host's own."""

import pathlib
import re

import jax
import pytest

from resgen_jax.training import memory

STATUS = pathlib.Path("/proc/self/status")


class Device:
    def __init__(self, **stats):
        self.stats = stats or None

    def memory_stats(self):
        return self.stats


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells it a second way")
def test_a_cpu_tells_of_the_host_alone_what_the_kernel_does():
    kernel = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())
    found = memory.watermark()
    assert set(found) == {"host_peak_bytes"}
    assert found["host_peak_bytes"] == pytest.approx(1024 * int(kernel.group(1)), rel=0.05)


def test_of_many_devices_the_highest_counts(monkeypatch):
    told = [
        Device(peak_bytes_in_use=5, bytes_limit=16),
        Device(peak_bytes_in_use=7, bytes_limit=17),
        Device(),
        Device(peak_bytes_in_use=6),
    ]
    monkeypatch.setattr(jax, "local_devices", lambda: told)
    found = memory.watermark()
    assert (found["device_peak_bytes"], found["device_limit_bytes"]) == (7, 17)
