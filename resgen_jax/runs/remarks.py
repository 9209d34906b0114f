"""What held-out figures say of levels that are not worth their codes, in words."""

import itertools
import math
import os
from collections.abc import Callable, Mapping, Sequence

from resgen_jax.metrics import levels
from resgen_jax.training.telemetry import writer

HELD_OUT = "held_out"
LEAST_MEASURED = 3  # measurements, before a rise is spoken of
LEAST_RISE = 0.05  # of the fall before it; less is noise


def of_depths(psnr_by_depth: Sequence[float]) -> list[str]:
    """Of the PSNR of a tokenizer with 1, 2, ... levels: nothing, or one remark."""
    found = levels.adding_little(psnr_by_depth)
    if not found:
        return []
    added = psnr_by_depth[-1] - psnr_by_depth[found[0] - 2]
    in_all = f"; from depth {found[0] - 1} on {added:.2f} dB in all" if len(found) > 1 else ""
    adds, each = ("add", " each") if len(found) > 1 else ("adds", "")
    return [
        f"{_listed('depth', found)} {adds} less than {levels.LEAST_GAIN} dB of held-out PSNR{each}"
        f"{in_all}: a generator pays for codes that hardly show; train longer, or consider a lower "
        f"quantizer.depth"
    ]


def of_nats(nats_by_level: Sequence[float], codebook_size: int) -> list[str]:
    """Of a generator's held-out nats for each level: nothing, or one remark."""
    found = levels.worse_than_a_guess(nats_by_level, codebook_size)
    if not found:
        return []
    worst = max(nats_by_level[level] for level in found)
    costs = "cost" if len(found) > 1 else "costs"
    return [
        f"{_listed('level', found)} (0 = coarse) {costs} up to {worst:.2f} "
        f"nats a held-out code, more than a guess (ln {codebook_size:,} = "
        f"{math.log(codebook_size):.2f}): the generator does not know them"
    ]


def of_curve(held_out: Sequence[tuple[int, float | int]]) -> list[str]:
    """Of a generator's held-out (step, loss) pairs that end above their least: one remark."""
    if len(held_out) < LEAST_MEASURED:
        return []
    (_, first), (last_step, last) = held_out[0], held_out[-1]
    step, least = min(held_out, key=lambda pair: pair[1])
    if last <= least + LEAST_RISE * (first - least):
        return []
    return [
        f"the held-out loss was least at step {step:,} ({least:.3g}) and rose to {last:.3g} at "
        f"step {last_step:,}: since then the generator learns its training images by heart; train "
        f"fewer steps, or give it more images, crops or dropout"
    ]


def nats_of_run(workdir: str | os.PathLike) -> list[float]:
    """Nats a held-out code at each level, coarse to fine, of the last measurement of a run."""
    return _series(_last_held_out(workdir), "code_nll/level_", 0)


def of_held_out(metrics: Mapping[str, float], codebook_size: int) -> list[str]:
    """Of a held-out measurement of either stage, by the names that its task gives."""
    nats = _series(metrics, "code_nll/level_", 0)
    return of_depths(_series(metrics, "psnr/depth_", 1)) + of_nats(nats, codebook_size)


def of_run(workdir: str | os.PathLike, codebook_size: int) -> list[str]:
    """Remarks on the last held-out measurement of a run."""
    return of_held_out(_last_held_out(workdir), codebook_size)


def _last_held_out(workdir: str | os.PathLike) -> dict[str, float]:
    measured = [line for line in writer.read(workdir) if line["split"] == HELD_OUT]
    last = measured[-1] if measured else {}
    return {name: float(value) for name, value in last.items() if isinstance(value, int | float)}


class Remarks:
    """Tells `note` of held-out figures whenever other levels are to be named than before."""

    def __init__(self, codebook_size: int, note: Callable[[str], None]):
        self._codebook_size, self._note = codebook_size, note
        self._named: tuple[tuple[int, ...], ...] = ((), ())

    def __call__(self, metrics: Mapping[str, float]) -> None:
        """`metrics`: the latest of a run, each with its split in front."""
        prefix = f"{HELD_OUT}/"
        held_out = {
            name.removeprefix(prefix): value
            for name, value in metrics.items()
            if name.startswith(prefix)
        }
        if not held_out:
            return
        named, self._named = self._named, _named(held_out, self._codebook_size)
        if named == self._named:
            return
        for text in of_held_out(held_out, self._codebook_size):
            self._note(text)


def _named(metrics: Mapping[str, float], codebook_size: int) -> tuple[tuple[int, ...], ...]:
    """The depths and levels that remarks on a held-out measurement name."""
    return (
        levels.adding_little(_series(metrics, "psnr/depth_", 1)),
        levels.worse_than_a_guess(_series(metrics, "code_nll/level_", 0), codebook_size),
    )


def _series(metrics: Mapping[str, float], stem: str, first: int) -> list[float]:
    """The values of stem + `first`, + `first` + 1, and so on, as far as they are there."""
    names = (f"{stem}{number}" for number in itertools.count(first))
    return [metrics[name] for name in itertools.takewhile(metrics.__contains__, names)]


def _listed(noun: str, numbers: Sequence[int]) -> str:
    """`depth 3`, `depths 3 and 5`, `depths 5 to 8`."""
    if len(numbers) == 1:
        return f"{noun} {numbers[0]}"
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{noun}s {numbers[0]} to {numbers[-1]}"
    return f"{noun}s {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
