"""Faults of what a run finds when it goes on: another run, other data, metrics that are damaged."""

import shutil
import time

import fault_damage
import fault_ends
import fault_kinds
import fault_runs
import fault_surroundings

from resgen_jax.training.telemetry import writer


def two_at_once(bench, count):
    """The same command twice: one trains to the end, the other is refused, and names the first."""
    target = fault_kinds.TINY
    (whole, seconds), tally = bench.whole("tiny", target), fault_kinds.Tally()
    while tally.number < count:
        workdir, both = bench.folder(), []
        for number in range(2):
            both.append(fault_runs.Process(target, workdir, log=f"{workdir}.{number}.log"))
            if not number and bench.random.integers(2):
                time.sleep(bench.moment(0.5 * seconds))
        codes = [run.wait() for run in both]
        said = [line for run in both for line in run.said()]
        if codes == [0, 0] and fault_runs.num_starts(workdir) == 1:
            continue  # the second began when the first had ended
        named = [line for line in said if "is in use: process " in line and " on " in line]
        if sorted(codes) != [0, 2] or len(named) != 1 or fault_ends.has_trace(said):
            tally.wrong.append(f"exit codes {codes}: {said[-6:]} in {workdir}")
        elif fault_runs.lines(workdir) != fault_runs.lines(whole):
            tally.wrong.append(f"other losses in {workdir}")
        else:
            tally.refused += 1
    return tally


def other_data(bench, count):
    """Images change under their names, come, go or swap names, or the folder moves, meanwhile."""
    images = bench.folder()
    fault_surroundings.write_images(images, bench.random)
    target = _on(images)
    whole, _ = bench.whole("changed", target)
    stopped, tally = fault_ends.stopped(bench, target), fault_kinds.Tally()
    for number in range(count):
        workdir, kept = bench.folder(), bench.folder()
        shutil.copytree(stopped, workdir)
        shutil.copytree(images, kept)
        change = CHANGES[number % len(CHANGES)]
        where = change(images, bench)
        run = bench.start(_on(where), workdir)
        met = fault_ends.Met(run, run.wait(), workdir, None)
        is_right = met.code == (0 if change is _moved else 2)
        is_named = met.code == 0 or str(images) in run.said()[-1]

        def mend(where=where, kept=kept):
            shutil.rmtree(where)
            shutil.copytree(kept, images)

        words = change.__name__.strip("_")
        if is_right and is_named:
            fault_ends.judge(bench, tally, met, whole, target, words, mend)
        else:
            tally.wrong.append(f"{words}: exit code {met.code}: {run.said()[-3:]}")
        mend()
    return tally


def _on(images):
    return fault_kinds.training(
        f"--config={fault_kinds.CONFIG}",
        "--config.data.source=folder",
        f"--config.data.path={images}",
    )


def _two(images, bench):
    files = sorted(images.rglob("*.png"))
    return (files[int(number)] for number in bench.random.choice(len(files), 2, replace=False))


def _other_pixels(images, bench):
    path, _ = _two(images, bench)
    fault_surroundings.write_image(path, bench.random)
    return images


def _one_more(images, bench):
    path, _ = _two(images, bench)
    shutil.copy(path, path.with_name("one_more.png"))
    return images


def _one_less(images, bench):
    path, _ = _two(images, bench)
    path.unlink()
    return images


def _names_swapped(images, bench):
    path, other = _two(images, bench)
    aside = path.with_suffix(".aside")
    path.rename(aside)
    other.rename(path)
    aside.rename(other)
    return images


def _moved(images, bench):
    return images.rename(bench.folder())


CHANGES = (_other_pixels, _moved, _one_more, _names_swapped, _one_less)


def damaged_metrics(bench, count):
    """A line of metrics.jsonl is cut, overwritten or put between: only that one is lost."""
    whole, _ = bench.whole("toy", fault_runs.toy)
    place, tally = bench.folder(), fault_kinds.Tally()
    place.mkdir()
    stopped = fault_damage.template(place)
    for _ in range(count):
        workdir = bench.folder()
        shutil.copytree(stopped, workdir)
        path = workdir / writer.FILE
        *texts, end = path.read_bytes().split(b"\n")
        number = int(bench.random.integers(len(texts)))
        how = WAYS[int(bench.random.integers(len(WAYS)))]
        lost, aside = texts[number].decode(), how(texts, number, bench.random)
        path.write_bytes(b"\n".join([*texts, end]))
        run = bench.start(fault_runs.toy, workdir)
        code, said, wrong = run.wait(), run.said(), ""
        kept = [line for line in fault_runs.lines(whole) if line != lost or how in NOTHING_LOST]
        set_aside = workdir / writer.DAMAGED
        if code or fault_ends.has_trace(said):
            wrong = f"exit code {code}: {said[-3:]}"
        elif fault_runs.lines(workdir) != kept:
            wrong = "other lines"
        elif not set_aside.exists() or aside not in set_aside.read_bytes():
            wrong = "the damaged line was not set aside"
        elif sum("damaged lines of" in line for line in said) != 1:
            wrong = f"no word of it: {said}"
        if wrong:
            tally.wrong.append(f"line {number} {how.__name__}: {wrong} in {workdir}")
        else:
            tally.resumed += 1
    return tally


def _cut(texts, number, random):
    texts[number] = texts[number][: int(random.integers(1, len(texts[number])))]
    return texts[number]


def _overwritten(texts, number, random):
    random_bytes = random.bytes(len(texts[number])).replace(b"\n", b"\xff")
    texts[number] = b"\xfe" + random_bytes
    return texts[number]


def _put_between(texts, number, random):
    strange = (b"3", b"null", b"[]", b'"text"', b"{}", b"[" * 2000, b'{"step": "1"}')
    texts.insert(number, strange[int(random.integers(len(strange)))])
    return texts[number]


def _put_last(texts, number, random):
    _put_between(texts, len(texts), random)
    return texts[-1]


WAYS, NOTHING_LOST = (_cut, _overwritten, _put_between, _put_last), (_put_between, _put_last)
