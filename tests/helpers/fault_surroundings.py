"""Faults of what surrounds a run: bad data, and a process of two that is killed."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import fault_damage
import fault_kinds
import fault_runs
import numpy as np
from PIL import Image

LAUNCHER = fault_runs.ROOT / "launch" / "local.sh"
MODULE = f"{sys.executable} -m resgen_jax"


def write_images(folder, random, num_images=48):
    """Images of two classes."""
    for number in range(num_images):
        path = folder / f"class_{number % 2}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, random)


def write_image(path, random):
    """Noise."""
    Image.fromarray(np.uint8(random.integers(0, 255, (8, 8)))).save(path)


def bad_data(bench, count):
    """A file of the data is cut, overwritten, or gone when a stopped run goes on."""
    images, kept = bench.folder(), bench.folder()
    write_images(images, bench.random)
    target = fault_kinds.training(
        f"--config={fault_kinds.CONFIG}",
        "--config.data.source=folder",
        f"--config.data.path={images}",
    )
    bench.whole("folder", target)
    stopped = bench.folder()
    run = bench.start(target, stopped)
    while run.is_alive() and not fault_runs.saved_steps(stopped):
        time.sleep(0.01)
    run.send(signal.SIGTERM)
    assert run.wait() == 3, run.said()

    def disturbed(workdir):
        shutil.copytree(stopped, workdir)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(images, kept)
        files = sorted(images.rglob("*.png"))
        path = files[int(bench.random.integers(len(files)))]
        how = ("truncate", "overwrite", "delete")[int(bench.random.integers(3))]
        if how == "overwrite":
            path.write_bytes(bench.random.bytes(path.stat().st_size))
        else:
            fault_damage.harm(path, how, bench.random)
        return target

    def mended(workdir):
        shutil.rmtree(images)
        shutil.copytree(kept, images)

    return fault_kinds.refused(bench, count, "folder", target, disturbed, mended)


class Launched:
    """Two processes of a run, as launch/local.sh starts them."""

    def __init__(self, workdir):
        resgen, self.log = pathlib.Path(f"{workdir}.sh"), pathlib.Path(f"{workdir}.log")
        resgen.write_text(f'#!/bin/sh\nexec {MODULE} "$@"\n')
        resgen.chmod(0o755)
        command = [
            "bash",
            str(LAUNCHER),
            "--processes=2",
            "train",
            f"--config={fault_kinds.CONFIG}",
        ]
        self._script = subprocess.Popen(
            [*command, f"--workdir={workdir}"],
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            env=os.environ | {"RESGEN": str(resgen), "PYTHONPATH": str(fault_runs.ROOT)},
        )

    def kill_one(self, random):
        """SIGKILL to one of the two, at random; False if they have ended."""
        found = []
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if (
                    parent == self._script.pid
                    and b"resgen_jax" in (folder / "cmdline").read_bytes()
                ):
                    found.append(int(folder.name))
        if not found:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(sorted(found)[int(random.integers(len(found)))], signal.SIGKILL)
        return True

    def wait(self, deadline=fault_runs.DEADLINE):
        """The exit code of the launcher."""
        try:
            return self._script.wait(deadline)
        finally:
            if self._script.poll() is None:
                self._script.terminate()
                self._script.terminate()

    def said(self):
        """The lines of all."""
        return self.log.read_text(errors="replace").splitlines()


def one_of_two(bench, count):
    """SIGKILL to one of two processes; the launcher ends the other, and the command goes on."""
    for _ in range(2):  # compiled the second time
        workdir, began = bench.folder(), time.monotonic()
        run = Launched(workdir)
        assert run.wait() == 0, run.said()
    seconds = time.monotonic() - began
    bench._whole["two"] = workdir, seconds

    def disturb(workdir):
        run = Launched(workdir)
        time.sleep(float(bench.random.uniform(0.2, 0.9)) * seconds)
        run.kill_one(bench.random)
        return _Code(run)

    return fault_kinds.chains(bench, count, signal.SIGKILL, "two", Launched, disturb)


class _Code:
    """The launcher's exit code for a killed process, 137, as that of the process itself."""

    def __init__(self, run):
        self._run, self.said = run, run.said

    def wait(self):
        code = self._run.wait()
        return -signal.SIGKILL if code == 128 + signal.SIGKILL else code
