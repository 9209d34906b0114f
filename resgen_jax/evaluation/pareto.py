"""Distance against time of many settings of a sampler, and those that none other beats in both."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import ticker
from PIL import Image

from resgen_jax.evaluation import curves, grid, single_plot

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
    title = title or "Sampling"
    plot = single_plot.Plot(title, "seconds an image, compilation apart", distance_name)
    axes = plot.axes
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
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
        axes.legend(**single_plot.BESIDE, handlelength=0, labelcolor=grid.INK)
    axes.margins(x=0.15, y=0.12)
    return plot.image()
