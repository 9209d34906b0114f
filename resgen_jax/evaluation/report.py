"""The page of a run: one HTML file that shows figures, pictures, settings and how to go on."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from resgen_jax.core import durations
from resgen_jax.evaluation import page
from resgen_jax.evaluation.figures import Figure
from resgen_jax.evaluation.page import Markup, element
from resgen_jax.io import files

HOW_IT_WORKS = (
    "First a tokenizer learns to write each image as a small grid of positions, each with a "
    "stack of codes from coarse to fine, and to draw the image back from them (residual "
    "vector quantization). Then a generator, ResGen, learns such grids: it sees some codes, "
    "and predicts at every position the sum of the vectors still hidden. To draw a new image "
    "it starts with every code hidden and reveals the ones it is surest of, step by step; the "
    "number of steps does not grow with the depth of the stacks."
)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture with the sentence below it."""

    title: str
    image: Image.Image
    caption: str


@dataclasses.dataclass(frozen=True)
class Phase:
    """Seconds of one phase: by the clock, of them compiling, and of all processors together."""

    name: str
    seconds: float | int
    compile_seconds: float | int = 0.0
    cpu_seconds: float | int = 0.0


@dataclasses.dataclass(frozen=True)
class Command:
    """What a command is for, and the command as it is typed."""

    purpose: str
    command: str


@dataclasses.dataclass(frozen=True)
class Report:
    """All that the page shows."""

    title: str
    headline: str
    figures: Sequence[Figure]
    pictures: Sequence[Picture]
    phases: Sequence[Phase]
    commands: Sequence[Command]
    settings: Mapping[str, Mapping[str, Any]]
    environment: Mapping[str, str]
    remarks: Sequence[str] = ()  # what the figures warn of


def write(path: str | os.PathLike, report: Report) -> None:
    """Write the page; an older one is replaced whole or not at all."""
    files.write(pathlib.Path(path), render(report).encode())


def render(report: Report) -> str:
    """The page as a string; it refers to nothing outside itself."""
    parts = [
        element("h1", report.title),
        element("p", report.headline, class_="lead"),
        element("h2", "Key figures"),
        _figures(report.figures),
        *(element("p", remark) for remark in report.remarks),
        element("h2", "Pictures"),
        *(page.picture(shown.title, shown.image, shown.caption) for shown in report.pictures),
        element("h2", "How it works"),
        element("p", HOW_IT_WORKS),
        element("h2", "Go on"),
        *(_command(command) for command in report.commands),
        element("h2", "Time"),
        _phases(report.phases),
        element("h2", "Settings"),
        *(page.settings(name, values) for name, values in report.settings.items()),
        element("h2", "Machine and versions"),
        page.table((), [_row(name, value) for name, value in report.environment.items()]),
    ]
    return page.page(report.title, parts)


def _figures(figures: Sequence[Figure]) -> Markup:
    marks = {True: ("✓", "good"), False: ("✗", "bad"), None: ("", "")}
    rows = []
    for figure in figures:
        mark, tone = marks[figure.is_met]
        value = element(
            "td", figure.value, f" {mark}" if mark else "", class_=f"value {tone}".strip()
        )
        rows.append(
            element(
                "tr",
                element("td", figure.name, class_="name"),
                value,
                element("td", figure.meaning),
                element("td", element("small", figure.beside)),
            )
        )
    return page.table(("", "Value", "What it says", "To hold it against"), rows)


def _phases(phases: Sequence[Phase]) -> Markup:
    def row(name: str, seconds: Sequence[float | int], tone: str = "") -> Markup:
        cells = [durations.written(value) if value else "–" for value in seconds]
        numbers = [element("td", cell, class_="number") for cell in cells]
        return element("tr", element("td", name), *numbers, class_=tone)

    columns = [(p.seconds, p.compile_seconds, p.cpu_seconds) for p in phases]
    rows = [row(phase.name, column) for phase, column in zip(phases, columns, strict=True)]
    rows.append(row("All", [sum(column) for column in zip(*columns, strict=True)], "total"))
    names = ("Phase", "Wall time", "of it compiling", "CPU time")
    return page.table(names, rows, numbers=(1, 2, 3))


def _command(command: Command) -> Markup:
    purpose = element("p", command.purpose, class_="purpose")
    # A flag goes to the next line whole, and one that is longer than a line is broken.
    words = [element("span", word, class_="word") for word in command.command.split(" ")]
    return Markup(purpose + element("pre", Markup(" ".join(words))))


def _row(name: str, value: str) -> Markup:
    return element("tr", element("td", name, class_="name"), element("td", value))
