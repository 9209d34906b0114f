"""Distance against time of many settings of a sampler, and those that none other beats in both."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import figure, ticker
from matplotlib.backends import backend_agg
from PIL import Image

from resgen_jax.evaluation import curves, grid

MAX_NAMED = 12  # points of the front that bear their settings


class Point(NamedTuple):
    """One setting: what is drawn of it, and its name."""

    seconds: float
    distance: float
    name: str
    is_best: bool  # none other is both nearer and faster


def draw(points: Sequence[Point], distance_name: str, *, title: str = "") -> Image.Image:
    """A point for each setting, a line through the best, and beside it what these are.

    `distance_name` is of that axis; of more than 12 best points some are named.
    """
    sheet = figure.Figure(figsize=(10.4, 4.9), dpi=110, layout="constrained")
    canvas = backend_agg.FigureCanvasAgg(sheet)
    axes: Any = sheet.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.tick_params(labelsize=10, colors=grid.FAINT)
    axes.set_title(
        title or "Sampling", fontsize=12.5, fontweight="bold", color=grid.INK, loc="left"
    )
    axes.set_xlabel("seconds an image, compilation apart", fontsize=11, color=grid.FAINT)
    axes.set_ylabel(distance_name, fontsize=11, color=grid.FAINT)
    shown = [point for point in points if np.isfinite(point.distance)]
    axes.plot(
        [point.seconds for point in shown if not point.is_best],
        [point.distance for point in shown if not point.is_best],
        "o",
        color="#9aa4af",
        markersize=5,
    )
    best = sorted((point for point in shown if point.is_best), key=lambda point: point.seconds)
    line = [point.seconds for point in best], [point.distance for point in best]
    axes.plot(*line, "o-", color=curves.BLUE, markersize=6, linewidth=1.5)
    for number, place in enumerate(grid.pick(len(best), MAX_NAMED), start=1):
        point = best[place]
        axes.annotate(
            str(number),
            (point.seconds, point.distance),
            xytext=(6, 5),
            textcoords="offset points",
            fontsize=10,
            color=grid.INK,
        )
        axes.plot([], [], " ", label=f"{number}  {point.name}")
    if best:
        beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "handlelength": 0}
        axes.legend(**beside, frameon=False, fontsize=9, labelcolor=grid.INK)
    axes.margins(x=0.15, y=0.12)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
