"""A study on one sheet: loss over size at each budget, and over compute for each size."""

from typing import Any

import numpy as np
from matplotlib import colormaps, figure, ticker
from matplotlib.backends import backend_agg
from PIL import Image

from resgen_jax.scaling.laws import iso_flops, report

INK, FAINT, GRID = "#1b1f24", "#57606a", "#e6e8eb"
UNITS = {"flops": "FLOPs", "examples": "examples"}
NUM_COLORS = 128
MEANINGS = {
    "parameters": "parameters",
    "examples": "examples seen, repeats counted",
    "flops": "training FLOPs",
}
SMALL = {"fontsize": 9, "labelcolor": INK, "frameon": False, "title_fontsize": 9}


def draw(result: report.Result, *, meaning: str = "held-out loss", title: str = "") -> Image.Image:
    """Two panels and a heading; `meaning` names the loss with its unit."""
    sheet = figure.Figure(figsize=(11.4, 4.9), dpi=100, layout="constrained")
    engine: Any = sheet.get_layout_engine()
    engine.set(w_pad=0.12, h_pad=0.1)
    canvas = backend_agg.FigureCanvasAgg(sheet)
    heading = [title] if title else []
    sheet.suptitle("\n".join([*heading, _law_text(result)]), fontsize=11, color=INK)
    left, right = sheet.subplots(1, 2, sharey=True)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xscale("log")
        axes.tick_params(labelsize=9.5, colors=FAINT)
    _draw_sizes(left, result, meaning)
    _draw_compute(right, result)
    canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    return drawn.quantize(NUM_COLORS)  # a third of the file, and no eye tells them apart


def _draw_sizes(axes, result: report.Result, meaning: str) -> None:
    unit = UNITS[result.unit]
    _name(axes, f"Same {unit}, different sizes", "parameters", meaning)
    for color, budget in zip(_colors("viridis", result.budgets), result.budgets, strict=True):
        sizes, losses = budget.columns()
        axes.plot(sizes, losses, "o", color=color, markersize=6, label=_math(budget.budget))
        if budget.lowest is None or result.unit != "flops":
            axes.plot(sizes, losses, color=color, linewidth=1)
            continue
        at = np.geomspace(sizes.min(), sizes.max(), 60)
        curve = iso_flops.parabola(sizes, losses, at)
        axes.plot(at, curve, color=color, linewidth=1.3, linestyle="--")
        if budget.lowest.verdict == "inside":
            axes.plot(
                budget.lowest.size,
                budget.lowest.loss,
                marker="*",
                color=color,
                markeredgecolor=INK,
                markersize=14,
                zorder=5,
            )
    has_star = any(each.lowest and each.lowest.verdict == "inside" for each in result.budgets)
    if has_star and result.unit == "flops":
        axes.plot([], [], "*", color="white", markeredgecolor=INK, markersize=11, label="best size")
    axes.legend(title=f"training {unit}", **SMALL)
    _ticks(axes, [row["parameters"] for row in result.rows], _short_count)


def _draw_compute(axes, result: report.Result) -> None:
    _name(axes, f"The law, with its {100 * report.LEVEL:.0f} % band", "training FLOPs", "")
    if result.unit == "flops":
        _ticks(axes, [each.budget for each in result.budgets], _math)
    law = result.fit.law
    if law.names == ("flops",):
        _draw_curve(axes, result, INK, *_span(result.rows), None)
        axes.plot(*_points(result.rows), "o", color="#9aa4af", markersize=5, label="all runs")
        axes.plot(*_points(result.fitted), "o", color=INK, markersize=6, label="best of a budget")
        axes.legend(**SMALL)
        return
    names = sorted({row["parameters"] for row in result.rows})
    for color, parameters in zip(_colors("plasma", names), names, strict=True):
        rows = [row for row in result.rows if row["parameters"] == parameters]
        axes.plot(*_points(rows), "o", color=color, markersize=6, label=f"{parameters:,.0f}")
        _draw_curve(axes, result, color, *_span(rows), rows[0])
    axes.legend(title="parameters", **SMALL)


def _draw_curve(axes, result: report.Result, color, low: float, high: float, row) -> None:
    """The law and its band over the compute of the runs, no further; one size's where given."""
    at = np.geomspace(low, high, 60)
    values = at[:, None]
    if row is not None:
        examples = at * row["examples"] / row["flops"]
        values = np.stack([np.full_like(at, row["parameters"]), examples], axis=-1)
    axes.plot(at, result.fit.law(values), color=color, linewidth=1.4)
    if result.fit.replicates:
        axes.fill_between(at, *result.fit.band(values, report.LEVEL), color=color, alpha=0.18, lw=0)


def _law_text(result: report.Result) -> str:
    """The law with symbols, and the intervals of its exponents."""
    law, symbols = result.fit.law, {"parameters": "N", "examples": "D", "flops": "C"}
    terms = "".join(
        rf" + {_short(scale)} / {symbols[name]}^{{{power:.2f}}}"
        for name, scale, power in zip(law.names, law.coefficients, law.exponents, strict=True)
    )
    intervals = []
    for name in law.names:
        low, high = result.fit.interval(f"exponent_{name}", report.LEVEL)
        intervals.append(f"exponent of {symbols[name]} {low:.2f} to {high:.2f}")
    kinds = ", ".join(f"{symbols[name]} {MEANINGS[name]}" for name in law.names)
    explained = f"R² {result.fit.share_explained:.3f}, {len(result.fitted)} runs"
    level = f"{100 * report.LEVEL:.0f} % intervals: {', '.join(intervals)}"
    return f"$L = {law.floor:.3f}{terms}$   ({kinds})\n{level}; {explained}"


def _short(value: float) -> str:
    if 0.01 <= value < 1e4:
        return f"{value:.3g}"
    mantissa, power = f"{value:.1e}".split("e")
    factor = "" if mantissa == "1.0" else rf"{mantissa.removesuffix('.0')} \cdot "
    return rf"{factor}10^{{{int(power)}}}"


def _math(value: float) -> str:
    return f"${_short(value)}$"


def _points(rows) -> tuple[list[float], list[float]]:
    return [row["flops"] for row in rows], [row["loss"] for row in rows]


def _span(rows) -> tuple[float, float]:
    operations = [row["flops"] for row in rows]
    return min(operations), max(operations)


def _colors(name: str, items) -> list:
    return list(colormaps[name](np.linspace(0.05, 0.8, len(items))))


def _ticks(axes, values, written) -> None:
    """Ticks at the values themselves."""
    axes.set_xticks(sorted(set(values)))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: written(float(value))))
    axes.xaxis.set_minor_locator(ticker.NullLocator())


def _short_count(value: float) -> str:
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def _name(axes, title: str, below: str, beside: str) -> None:
    axes.set_title(title, fontsize=11.5, fontweight="bold", color=INK, loc="left")
    axes.set_xlabel(below, fontsize=10.5, color=FAINT)
    axes.set_ylabel(beside, fontsize=10.5, color=FAINT)
