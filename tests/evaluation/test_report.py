"""The page holds all it was given once, escapes it, and refers to nothing outside itself."""

import base64
import html.parser
import io

import numpy as np
import pytest
from PIL import Image

from resgen_jax.evaluation import environment, figures, page, report


class Reader(html.parser.HTMLParser):
    """Collects text, images and every attribute; counts tags that were not closed."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.texts, self.images, self.attributes, self.open = [], [], [], []
        self.commands = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "pre":
            self.commands.append("")
        self.attributes.extend((tag, *pair) for pair in attrs)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if "pre" in self.open:
            self.commands[-1] += data


@pytest.fixture
def shown():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 12, 15, 3), np.uint8)
    return report.Report(
        title="Digits <& more>",
        headline="Trained in <1 min",
        figures=[
            figures.Figure("PSNR", "24.4 dB", "how exact", "goal ≥ 23 dB", True),
            figures.Figure("Agreement", "91 %", "how right", "goal ≥ 95 %", False),
            figures.Figure("Distance", "1.3", "how close"),
        ],
        pictures=[
            report.Picture(f"picture {i}", Image.fromarray(image), f"caption {i}")
            for i, image in enumerate(pixels)
        ],
        phases=[report.Phase("tokenizer", 61.2, 14), report.Phase("sampling", 5)],
        commands=[report.Command("longer", 'resgen train --config="a b" <config>')],
        settings={"Generator": {"model": {"width": 96, "grid": (2, 2)}, "seed": 0, "none": {}}},
        environment={"Devices": "1 x cpu"},
        remarks=["depths 5 to 8 add < 0.1 dB"],
    )


@pytest.fixture
def read(shown):
    return Reader(report.render(shown))


def test_every_text_is_there_as_it_was_given(read, shown):
    texts = read.texts
    for expected in (
        shown.title,
        shown.headline,
        *(text for figure in shown.figures for text in (figure.name, figure.meaning)),
        *(picture.caption for picture in shown.pictures),
        *shown.remarks,
        *(phase.name for phase in shown.phases),
        *(command.purpose for command in shown.commands),
        "Generator",
        "model.width",
        "96",
        "(2, 2)",
        "none",
        "1 x cpu",
    ):
        assert texts.count(expected) == (2 if expected == shown.title else 1), expected
    assert read.commands == [command.command for command in shown.commands]


def test_goals_met_and_missed_are_marked(read):
    assert "24.4 dB ✓" in read.texts
    assert "91 % ✗" in read.texts
    assert "1.3" in read.texts


def test_each_picture_is_there_once_pixel_by_pixel(read, shown):
    assert len(read.images) == len(shown.pictures)
    for found, expected in zip(read.images, shown.pictures, strict=True):
        kind, data = found["src"].split(",")
        assert kind == "data:image/png;base64"
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        np.testing.assert_array_equal(pixels, np.asarray(expected.image))
        assert found["alt"] == expected.title
        assert (found["width"], found["height"]) == ("15", "12")


def test_it_refers_to_nothing_outside_itself(read, shown):
    for tag, name, value in read.attributes:
        assert name not in ("href", "srcset", "action", "onclick"), tag
        if name == "src":
            assert value.startswith("data:")
    text = report.render(shown)
    for forbidden in ("http:", "https:", "file:", "url(", "@import", "<script", "<link"):
        assert forbidden not in text
    assert read.open == []


def test_times_add_up(read):
    assert "1 min 01 s" in read.texts
    assert "1 min 06 s" in read.texts
    assert read.texts.count("14.0 s") == 2


def test_an_older_page_is_replaced(tmp_path, shown):
    path = tmp_path / "report.html"
    path.write_text("old")
    report.write(path, shown)
    assert path.read_text(encoding="utf-8") == report.render(shown)
    assert list(tmp_path.iterdir()) == [path]


def test_nested_settings_keep_their_order():
    nested = {"b": {"y": 1, "x": {"deep": 2}}, "a": 3, "empty": {}}
    assert list(page.flat(nested)) == [("b.y", 1), ("b.x.deep", 2), ("a", 3), ("empty", {})]


def test_the_environment_names_device_and_versions():
    found = environment.describe()
    assert "cpu" in found["Devices"]
    assert "jax " in found["Libraries"]
    assert "resgen_jax " in found["Libraries"]
    assert all(isinstance(value, str) and value for value in found.values())
