"""Curves: the smoothing is a mean, and the figure shows what it was given."""

import numpy as np
import pytest
from matplotlib import figure

from resgen_jax.evaluation import curves


def test_smoothing_is_a_centred_mean_that_keeps_the_ends():
    values = np.random.default_rng(0).normal(size=50)
    found = curves.smooth(values, 10)
    for place in range(50):
        reach = min(5, place, 49 - place)
        expected = values[place - reach : place + reach + 1].mean()
        assert found[place] == pytest.approx(expected, abs=1e-12)


def test_smoothing_keeps_a_straight_line():
    line = np.linspace(3.0, -2.0, 41)
    np.testing.assert_allclose(curves.smooth(line, 8), line, atol=1e-12)


@pytest.fixture
def sheets(monkeypatch):
    """The figures drawn, to look into."""
    made = []
    original = figure.Figure

    def spy(*arguments, **keywords):
        made.append(original(*arguments, **keywords))
        return made[-1]

    monkeypatch.setattr(curves.figure, "Figure", spy)
    return made


def test_one_panel_for_each_quantity_with_its_numbers(sheets):
    train = [(step, 5.0 / (1 + step)) for step in range(30)]
    held_out = [(10, 1.0), (20, 0.5)]
    picture = curves.draw(
        [curves.Curve("Tokenizer", train, held_out), curves.Curve("Generator", train[:1])],
        psnr_by_depth=[15, 18.5, 20],
        perplexity_by_level=[60.0, 40.0],
        nats_by_level=[3.0, 4.5],
        codebook_size=64,
    )
    panels = sheets[0].axes
    titles = [panel.get_title(loc="left") for panel in panels]
    assert titles[:2] == ["Tokenizer", "Generator"]
    assert len(titles) == 5
    np.testing.assert_array_equal(panels[0].lines[-1].get_xydata(), held_out)
    np.testing.assert_array_equal(panels[2].lines[0].get_ydata(), [15, 18.5, 20])
    assert [bar.get_height() for bar in panels[3].patches] == [60, 40]
    assert panels[3].lines[0].get_ydata()[0] == 64
    assert [bar.get_height() for bar in panels[4].patches] == [3.0, 4.5]
    np.testing.assert_allclose(panels[4].lines[0].get_ydata(), np.log(64))
    assert panels[4].texts[0].get_text() == "a guess: ln 64 = 4.16"
    assert panels[4].get_ylim()[1] > 4.5  # a level worse than a guess is seen
    assert picture.size[0] > 800
    assert np.asarray(picture).std() > 5


def test_first_steps_do_not_flatten_the_rest_and_the_cut_is_told(sheets):
    train = [(step, 1000.0 if step < 3 else 2.0 - step / 100) for step in range(100)]
    curves.draw([curves.Curve("Loss", train)])
    (panel,) = sheets[0].axes
    assert panel.get_ylim()[1] < 3
    assert [text.get_text() for text in panel.texts] == ["the first steps lie above"]


def test_a_level_curve_is_shown_whole(sheets):
    curves.draw([curves.Curve("Loss", [(step, 1 + 0.1 * (step % 7)) for step in range(100)])])
    (panel,) = sheets[0].axes
    low, high = panel.get_ylim()
    assert low < 1
    assert high > 1.6
    assert not panel.texts


def test_no_curve_at_all_still_draws(sheets):
    assert curves.draw([curves.Curve("Loss", [])]).size[0] > 300
    assert len(sheets[0].axes) == 1
