"""The published sizes of ResGen, counted without making them."""

import math

import jax
import pytest

from resgen_jax.core import trees
from resgen_jax.generators import resgen
from resgen_jax.runs.configs import configuration

PRESETS = {
    "depth16,576m": 576.4e6,
    "depth8,576m": 576.0e6,
    "depth16,1b": 1001.3e6,
}
PUBLISHED = 576e6


@pytest.fixture(scope="module")
def shapes_of():
    """Abstract parameters and axes of a preset; made once each."""
    made = {}

    def make(words):
        if words not in made:
            config = configuration.load(f"configs/generators/resgen_imagenet256.py:{words}")
            network = resgen.make(config.model, config.space.made())
            made[words] = jax.eval_shape(network.init, jax.random.key(0)), network.axes
        return made[words]

    return make


@pytest.mark.parametrize(("words", "expected"), PRESETS.items(), ids=PRESETS)
def test_a_preset_has_as_many_parameters_as_it_says(shapes_of, words, expected):
    params, _ = shapes_of(words)
    num_parameters = trees.num_parameters(params) - trees.num_parameters(params["codes"])
    assert abs(num_parameters - expected) < 0.1e6


@pytest.mark.parametrize("words", ["depth16,576m", "depth8,576m"])
def test_the_published_count_is_met_within_a_percent(shapes_of, words):
    params, _ = shapes_of(words)
    num_parameters = trees.num_parameters(params) - trees.num_parameters(params["codes"])
    assert abs(num_parameters / PUBLISHED - 1) < 0.01


def test_the_paper_has_no_code_head(shapes_of):
    with_head, _ = shapes_of("depth16,576m")
    without, _ = shapes_of("depth16,576m,paper")
    assert set(with_head) - set(without) == {"codes"}
    # One dense layer from the width to the logits of every level.
    head = trees.num_parameters(with_head) - trees.num_parameters(without)
    assert head == (1152 + 1) * 16 * 1024


@pytest.mark.parametrize("words", PRESETS)
def test_every_dimension_has_its_axis(shapes_of, words):
    params, axes = shapes_of(words)
    jax.tree.map(check, params, axes)
    # Only small leaves lie whole on every device.
    whole = sum(
        math.prod(leaf.shape)
        for leaf, names in zip(
            jax.tree.leaves(params),
            jax.tree.leaves(axes, is_leaf=lambda node: isinstance(node, tuple)),
            strict=True,
        )
        if not any(name not in (None, "layers") for name in names)
    )
    assert whole < 1e-3 * trees.num_parameters(params)


def check(leaf, names):
    assert len(names) == leaf.ndim, (leaf.shape, names)
    assert (names[:1] == ("layers",)) == (leaf.ndim > 0 and leaf.shape[0] == 28)
