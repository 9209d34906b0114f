"""The watermark is the highest of what devices tell, and the host's own."""

import pathlib
import resource

import jax
import pytest

from resgen_jax.training.telemetry import memory

STATM = pathlib.Path("/proc/self/statm")


class Device:
    def __init__(self, **stats):
        self.stats = stats or None

    def memory_stats(self):
        return self.stats


@pytest.mark.skipif(not STATM.exists(), reason="only Linux tells it a second way")
def test_a_cpu_tells_of_the_host_alone_between_what_it_holds_now_and_the_highest_ever():
    now = int(STATM.read_text().split()[1]) * resource.getpagesize()
    found = memory.watermark()
    assert set(found) == {"host_peak_bytes"}
    highest = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert 0.95 * now <= found["host_peak_bytes"] <= 1.05 * highest


def test_without_proc_the_host_is_still_told(monkeypatch):
    here = memory.watermark()["host_peak_bytes"]
    monkeypatch.setattr(memory, "STATUS", memory.STATUS.with_name("not there"))
    assert memory.watermark()["host_peak_bytes"] >= 0.95 * here


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
