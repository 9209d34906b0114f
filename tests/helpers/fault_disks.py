"""Faults of disks: full ones, errors of input and output, a folder where a file should be."""

import contextlib
import errno
import functools
import json
import pathlib
import shutil
import subprocess

import fault_ends
import fault_io
import fault_kinds
import fault_runs

OFF = "local checkpoints are switched off"
LARGE = functools.partial(fault_runs.toy, hidden=170_000)  # arrays of 5.4 and 2.7 MB


@contextlib.contextmanager
def small_disk(place, size):
    """A file system of `size` bytes; raises OSError where it may not be mounted."""
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(f"cannot mount a small disk: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _may_mount(place):
    try:
        with small_disk(place, 4096):
            return True
    except OSError:
        return False


def _files_limited(bench, count, whole, name, target):
    """Where no disk may be mounted: files that may not grow beyond a random size."""
    largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())

    def disturbed(workdir):
        return functools.partial(fault_runs.limited, target, int(bench.random.integers(0, largest)))

    return fault_kinds.refused(bench, count, name, target, disturbed)


def disk_full(bench, count, size=2_000_000, name="toy", target=fault_runs.toy):
    """Runs on a small disk, of which another file has taken all but a random rest."""
    whole, _ = bench.whole(name, target)
    needed = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    disk = bench.folder()
    filler = disk / "filler"

    def disturbed(workdir):
        free = int(bench.random.integers(0, 2 * needed))
        filler.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - free)))
        return target

    class OnDisk(fault_kinds.Bench):
        """The same bench, whose runs lie on the small disk."""

        def __init__(self):
            self.__dict__ = dict(bench.__dict__)

        def folder(self):
            for old in disk.glob("run-*"):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
            return disk / f"run-{next(self._numbers)}"

        def start(self, target, workdir):
            return fault_runs.Process(target, workdir, log=f"{bench.place}/{workdir.name}.log")

    if not _may_mount(bench.folder()):
        return _files_limited(bench, count, whole, name, target)
    with small_disk(disk, size):
        return fault_kinds.refused(
            OnDisk(), count, name, target, disturbed, lambda workdir: filler.unlink()
        )


def disk_full_of_large_arrays(bench, count):
    """The same, of a run whose arrays are written piece by piece."""
    return disk_full(bench, count, 300_000_000, "large", LARGE)


def fast_disk_full(bench, count, size=2_000_000):
    """The disk of the local checkpoints alone is full: the run goes on to its end without them."""
    whole, _ = bench.whole("toy", fault_runs.toy)
    needed = 3 * fault_ends.size(next((whole / "checkpoints").iterdir()))
    disk, tally = bench.folder(), fault_kinds.Tally()
    make = small_disk(disk, size) if _may_mount(bench.folder()) else contextlib.nullcontext()
    with make:
        while tally.number < count:
            workdir, free = bench.folder(), int(bench.random.integers(0, needed))
            if disk.is_dir():
                rest = max(0, shutil.disk_usage(disk).free - free)
                (disk / "filler").write_bytes(bytes(rest))
                target = functools.partial(fault_runs.toy, local=disk / "fast")
            else:
                at = int(bench.random.integers(1, 200))
                target = functools.partial(_on_bad_disk, disk, at)
            run = bench.start(target, workdir)
            code, said = run.wait(), "\n".join(run.said())
            (disk / "filler").unlink(missing_ok=True)
            if code or fault_runs.lines(workdir) != fault_runs.lines(whole):
                tally.wrong.append(f"exit code {code}, {free} bytes free: {said[-300:]}")
            elif fault_ends.has_trace(run.said()):
                tally.wrong.append(said[-300:])
            elif any((disk / "fast").glob("run-*")):
                tally.wrong.append(f"left {list((disk / 'fast').glob('run-*'))} behind")
            elif OFF in said:
                tally.resumed += 1
    return tally


def _on_bad_disk(disk, at, workdir):
    with fault_io.Disk(disk, at, fault_io.SCOPES[2], errno.ENOSPC):
        return fault_runs.toy(workdir, local=disk / "fast")


def input_output_errors(
    bench, count, name="toy", target=fault_runs.toy, slow=fault_runs.toy_slowly
):
    """EIO at a random operation on files of a run that begins or goes on."""
    whole, _ = bench.whole(name, target)
    stopped = fault_ends.stopped(bench, slow)
    numbers = {}
    for begun in (None, stopped):
        met = _start(bench, target, begun, 0, fault_io.SCOPES[0])
        assert met.code == 0, met.run.said()
        numbers[begun] = met.found["number"]
    tally = fault_kinds.Tally()
    while tally.number < count:
        begun = (None, stopped)[int(bench.random.integers(2))]
        at = int(bench.random.integers(1, numbers[begun] + 1))
        scope = fault_io.SCOPES[int(bench.random.integers(3))]
        met = _start(bench, target, begun, at, scope)
        if met.found is None or met.found["hits"]:
            what = f"{met.found and met.found['first']} {scope}"
            fault_ends.judge(bench, tally, met, whole, target, what)
    return tally


def _start(bench, target, begun, at, scope):
    """One start, of a new run or a copy of the stopped one, and what was done to it."""
    workdir, report = bench.folder(), bench.folder()
    if begun is not None:
        shutil.copytree(begun, workdir)
    run = bench.start(functools.partial(_with_errors, target, report, at, scope), workdir)
    code = run.wait()
    found = json.loads(report.read_text()) if report.exists() else None
    return fault_ends.Met(run, code, workdir, found)


def _with_errors(target, report, at, scope, workdir):
    disk = fault_io.Disk(workdir, at, scope, errno.EIO)
    try:
        with disk:
            return target(workdir)
    finally:
        fields = {"number": disk.number, "hits": disk.hits, "first": disk.first}
        pathlib.Path(report).write_text(json.dumps(fields))


def folder_for_file(bench, count):
    """A folder that is not empty lies where the run has a file, or a file where it has a folder."""
    whole, _ = bench.whole("tiny", fault_kinds.TINY)
    stopped = fault_ends.stopped(bench, fault_kinds.TINY)
    names = sorted(str(path.relative_to(stopped)) for path in stopped.rglob("*"))
    # A run that has not begun has no checkpoint that could lack a file.
    early = [name for name in names if not name.startswith("checkpoints/")]
    tally = fault_kinds.Tally()
    while tally.number < count:
        workdir, is_begun = bench.folder(), bool(bench.random.integers(2))
        chosen = names if is_begun else early
        name = chosen[int(bench.random.integers(len(chosen)))]
        if is_begun:
            shutil.copytree(stopped, workdir)
        path, kept = workdir / name, bench.folder()
        is_folder = (stopped / name).is_dir()
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_begun:
            path.rename(kept)
        if is_folder:
            path.write_text("no folder")
        else:
            path.mkdir()
            (path / "file").write_text("in a folder")
        run = bench.start(fault_kinds.TINY, workdir)
        met = fault_ends.Met(run, run.wait(), workdir, None)
        mend = functools.partial(_put_back, path, kept)
        words = f"{name} a {'file' if is_folder else 'folder'}, {'' if is_begun else 'not '}begun"
        fault_ends.judge(bench, tally, met, whole, fault_kinds.TINY, words, mend)
    return tally


def _put_back(path, kept):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if kept.exists():
        kept.rename(path)
