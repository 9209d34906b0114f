"""A recipe is all that the rest knows of a method; files need each other in one direction."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import measure

from resgen_jax import recipes

ABOVE = ("runs", "cli")  # what speaks of methods by their recipes alone
BELOW = ("runtime", "io", "core", "data", "evaluation")  # what knows of none


@pytest.mark.parametrize("name", recipes.NAMES)
def test_no_file_above_or_far_below_a_recipe_names_its_method(name):
    found = {path.relative_to(measure.PACKAGE).parts[0] for path in measure.naming(name)}
    assert not found & {*ABOVE, *BELOW}


def test_a_generator_is_its_own_files_and_one_line_in_the_table():
    """Beside those that read its weights as others publish them."""
    others = {path.relative_to(measure.PACKAGE) for path in measure.naming("rq_transformer")}
    own = {path for path in others if path.parts[0] not in ("convert", "generators")}
    assert own == {pathlib.Path("recipes/__init__.py")}


def test_no_two_files_need_each_other():
    assert measure.circles(measure.imports()) == []


def test_configs_are_frozen_at_the_border():
    assert measure.config_dicts() == {}
