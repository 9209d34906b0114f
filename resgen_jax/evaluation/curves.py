"""One figure of the whole run: losses of training, PSNR by depth, perplexity and nats by level."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import figure, ticker
from matplotlib.backends import backend_agg
from PIL import Image

from resgen_jax.evaluation import grid

BLUE, ORANGE, GREEN, PALE = "#2f6fdb", "#d9730d", "#2a8c5a", "#c8d7f2"
STYLE = {"fontsize": 11, "color": grid.FAINT}
Pairs = Sequence[tuple[int, float | int]]


@dataclasses.dataclass(frozen=True)
class Curve:
    """One quantity over the steps of a run; each list holds (step, value) pairs."""

    title: str
    train: Pairs
    held_out: Pairs = ()
    name: str = "loss"


def draw(
    curves: Sequence[Curve],
    *,
    psnr_by_depth: grid.Numbers = (),
    perplexity_by_level: grid.Numbers = (),
    nats_by_level: grid.Numbers = (),
    codebook_size: int = 0,
) -> Image.Image:
    """Panels two in a row: the curves, then PSNR, perplexity and nats where they are given."""
    panels: list[Callable[[Any], None]]
    panels = [functools.partial(_draw_curve, curve=curve) for curve in curves]
    if len(psnr_by_depth):
        panels.append(lambda axes: _draw_psnr(axes, psnr_by_depth))
    if len(perplexity_by_level):
        panels.append(lambda axes: _draw_perplexity(axes, perplexity_by_level, codebook_size))
    if len(nats_by_level):
        panels.append(lambda axes: _draw_nats(axes, nats_by_level, codebook_size))
    columns = min(2, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    sheet = figure.Figure(figsize=(5.4 * columns, 3.5 * rows), dpi=110, layout="constrained")
    engine: Any = sheet.get_layout_engine()
    engine.set(w_pad=0.12, h_pad=0.12)
    canvas = backend_agg.FigureCanvasAgg(sheet)
    for number, panel in enumerate(panels):
        axes = sheet.add_subplot(rows, columns, number + 1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e6e8eb", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=10, colors=grid.FAINT)
        panel(axes)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def smooth(values: Float[np.ndarray, "n"], window: int) -> Float[np.ndarray, "n"]:
    """Centred running mean; the window narrows symmetrically at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    reach = np.minimum(window // 2, np.minimum(places, len(values) - 1 - places))
    return (sums[places + reach + 1] - sums[places - reach]) / (2 * reach + 1)


def _draw_curve(axes, curve: Curve) -> None:
    _title(axes, curve.title, "step", curve.name)
    train, held_out = (_pairs(pairs) for pairs in (curve.train, curve.held_out))
    if len(train):
        window = max(1, len(train) // 40)
        is_smoothed = window > 1
        if is_smoothed:
            axes.plot(*train.T, color=PALE, linewidth=1)
        line = smooth(train[:, 1], window)
        axes.plot(train[:, 0], line, color=BLUE, linewidth=1.8, label="training")
    if len(held_out):
        style = {"color": ORANGE, "linewidth": 1.8, "marker": "o", "markersize": 4}
        axes.plot(*held_out.T, **style, label="held out")
    values = np.concatenate([train[:, 1], held_out[:, 1]])
    _frame(axes, values, train)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=10, labelcolor=grid.INK)


def _frame(axes, values: np.ndarray, train: np.ndarray) -> None:
    """A frame around all but the first steps, whose height would flatten everything after them."""
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
    if not len(values):
        return
    settled = train[len(train) // 20 :, 1] if len(train) >= 20 else values
    top, bottom = max(settled.max(), np.median(values)), values.min()
    if values.max() - bottom <= 2 * (top - bottom):
        return
    margin = 0.05 * (top - bottom)
    axes.set_ylim(bottom - margin, top + margin)
    place = {"transform": axes.transAxes, "ha": "center", "va": "top"}
    axes.text(0.45, 0.97, "the first steps lie above", **place, **STYLE)


def _draw_psnr(axes, psnr: grid.Numbers) -> None:
    _title(axes, "Reconstruction quality (held out)", "codes used of each position", "PSNR in dB")
    depths = np.arange(1, len(psnr) + 1)
    axes.plot(depths, psnr, color=BLUE, marker="o", linewidth=1.8)
    axes.margins(y=0.18)
    # The curve rises: there is room below the first point and above the last.
    for place, offset in sorted({0: (12, -6), len(psnr) - 1: (0, 8)}.items()):
        axes.annotate(
            f"{psnr[place]:.1f}",
            (depths[place], psnr[place]),
            xytext=offset,
            textcoords="offset points",
            ha="left" if offset[0] else "center",
            fontsize=10,
            color=grid.INK,
        )
    axes.xaxis.set_major_locator(ticker.MaxNLocator(10, integer=True))


def _draw_perplexity(axes, perplexity: grid.Numbers, codebook_size: int) -> None:
    _title(axes, "Use of the codebooks (held out)", "level, 0 = coarse", "perplexity")
    _bars(axes, perplexity)
    if codebook_size:
        _bound(axes, perplexity, codebook_size, f"all {codebook_size} codes used alike")


def _draw_nats(axes, nats: grid.Numbers, codebook_size: int) -> None:
    """What a held-out code costs the generator, against a blind guess."""
    _title(axes, "What the generator knows (held out)", "level, 0 = coarse", "nats a code")
    _bars(axes, nats)
    if codebook_size:
        guess = math.log(codebook_size)
        _bound(axes, nats, guess, f"a guess: ln {codebook_size} = {guess:.2f}")


def _bars(axes, values: grid.Numbers) -> None:
    axes.bar(np.arange(len(values)), values, color=GREEN, width=0.65)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(10, integer=True))


def _bound(axes, values: grid.Numbers, bound: float | int, said: str) -> None:
    axes.axhline(bound, color=grid.FAINT, linewidth=1.2, linestyle="--")
    axes.set_ylim(0, max(bound, *values) * 1.18)
    axes.annotate(
        said,
        (-0.4, bound),  # coarse codes cost least: their bar leaves room
        xytext=(0, 4),
        textcoords="offset points",
        ha="left",
        fontsize=10,
        color=grid.FAINT,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )


def _title(axes, title: str, below: str, beside: str) -> None:
    axes.set_title(title, fontsize=12.5, fontweight="bold", color=grid.INK, loc="left", pad=10)
    axes.set_xlabel(below, **STYLE)
    axes.set_ylabel(beside, **STYLE)


def _pairs(pairs: Pairs) -> Float[np.ndarray, "n 2"]:
    return np.asarray(pairs, np.float64).reshape(-1, 2)
