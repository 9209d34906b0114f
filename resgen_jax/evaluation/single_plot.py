"""A picture with one pair of axes: how all of them look, and lines in it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure, ticker
from matplotlib.backends import backend_agg
from PIL import Image

from resgen_jax.evaluation import grid

Pairs = Sequence[tuple[float | int, float | int]]
COLOURS = ("#2f6fdb", "#d9730d", "#2a8c5a", "#b03a7a", "#6b5bd2", "#8a6d1f", "#4a5560", "#c22f2f")
BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "frameon": False, "fontsize": 9}


class Plot:
    """`axes` to draw on, and `image` when that is done."""

    def __init__(self, title: str, below: str, beside: str):
        self._sheet = figure.Figure(figsize=(10.4, 4.9), dpi=110, layout="constrained")
        self._canvas = backend_agg.FigureCanvasAgg(self._sheet)
        self.axes: Any = self._sheet.add_subplot()
        self.axes.spines[["top", "right"]].set_visible(False)
        self.axes.grid(color="#e6e8eb", linewidth=0.8)
        self.axes.set_axisbelow(True)
        self.axes.tick_params(labelsize=10, colors=grid.FAINT)
        self.axes.set_title(title, fontsize=12.5, fontweight="bold", color=grid.INK, loc="left")
        self.axes.set_xlabel(below, fontsize=11, color=grid.FAINT)
        self.axes.set_ylabel(beside, fontsize=11, color=grid.FAINT)

    def image(self) -> Image.Image:
        """The picture."""
        self._canvas.draw()
        return Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB")


def lines(found: Mapping[str, Pairs], *, title: str, below: str, beside: str) -> Image.Image:
    """A line for each name through its pairs of numbers; the lower axis doubles from mark to mark.

    `below` and `beside` name the axes. What is not finite is left out.
    """
    plot = Plot(title, below, beside)
    plot.axes.set_xscale("log", base=2)
    plot.axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    for number, (name, pairs) in enumerate(found.items()):
        finite = sorted(pair for pair in pairs if np.isfinite(pair).all())
        dashes = "-" if number < len(COLOURS) else "--"
        style = {"color": COLOURS[number % len(COLOURS)], "linewidth": 1.8, "markersize": 4.5}
        plot.axes.plot(*np.reshape(finite, (-1, 2)).T, f"o{dashes}", label=name, **style)
    plot.axes.legend(**BESIDE, labelcolor=grid.INK)
    return plot.image()
