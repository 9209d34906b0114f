"""Spaces: what they count, what they refuse, and that files give them back."""

import dataclasses
import json
import math

import pytest

from resgen_jax.core import errors, spaces

IMAGES = spaces.image_codes((2, 5), depth=3, codebook_size=7, code_dim=4, num_classes=5)
FLAT = {"grid": [2, 5], "depth": 3, "codebook_size": 7, "code_dim": 4, "num_classes": 5}
LATENTS = spaces.Space(spaces.Latents(32, 0.01, 0.07), 64, condition=spaces.Class(10))
SPEECH = spaces.Space(spaces.Codes(32, 1024, 512), 300, condition=spaces.Text(200, 1472))
UNTOLD = spaces.Space(spaces.Codes(2, 3, 4), 6)


def test_positions_and_codes_are_counted():
    assert (IMAGES.max_length, IMAGES.num_tokens, IMAGES.layout) == (10, 30, (2, 5))
    assert (SPEECH.num_tokens, SPEECH.layout) == (9600, (1, 300))
    assert IMAGES.codes.codebooks_shape == (3, 7, 4)


@pytest.mark.parametrize("space", [IMAGES, LATENTS, SPEECH, UNTOLD])
def test_files_give_a_space_back(space):
    told = json.loads(json.dumps(spaces.fields_of(space)))
    assert spaces.of_fields(told, "space") == space


def test_codes_of_images_lie_flat_in_files_as_they_always_did():
    assert json.loads(json.dumps(spaces.fields_of(IMAGES))) == FLAT | {"num_beams": 1}
    assert spaces.of_fields(FLAT, "space") == IMAGES


@pytest.mark.parametrize("field", ["depth", "codebook_size", "code_dim", "num_classes"])
def test_a_space_without_extent_is_refused(field):
    with pytest.raises(errors.UserError, match=f"{field} is 0; expected at least 1"):
        spaces.of_fields(FLAT | {field: 0}, "space")


@pytest.mark.parametrize("grid", [(0, 5), (-2, -5), (5, 5), (2**20, 2**20)])
def test_a_grid_has_the_positions_of_its_space(grid):
    with pytest.raises(errors.UserError, match=r"grid is \(.*\) of 10 positions; expected"):
        dataclasses.replace(IMAGES, grid=grid)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"channels": 0}, "channels is 0; expected at least 1"),
        ({"mean": math.nan}, "mean of latents is nan; expected a finite number"),
        ({"mean": -math.inf}, "mean of latents is -inf; expected a finite number"),
        ({"deviation": 0.0}, "deviation of latents is 0.0; expected a finite number above 0"),
        ({"deviation": math.inf}, "deviation of latents is inf; expected"),
        ({"deviation": math.nan}, "deviation of latents is nan; expected"),
    ],
)
def test_latents_that_cannot_be_scaled_are_refused(changes, match):
    with pytest.raises(errors.UserError, match=match):
        dataclasses.replace(LATENTS.item, **changes)


def test_another_kind_than_expected_is_refused_in_one_line():
    with pytest.raises(errors.UserError, match="latents of 32 channels; expected codes: encode"):
        _ = LATENTS.codes
    with pytest.raises(errors.UserError, match="codes of depth 3; expected latents: encode"):
        _ = IMAGES.latents
    with pytest.raises(errors.UserError, match="these data is a text; expected a class"):
        _ = SPEECH.num_classes
    with pytest.raises(errors.UserError, match="these data is nothing; expected a class"):
        _ = UNTOLD.num_classes
    assert (LATENTS.latents.deviation, IMAGES.num_classes) == (0.07, 5)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"dept": 3}, "here has no field 'dept'; did you mean 'depth'"),
        ({"max_length": 10}, "here tells of grid and max_length; expected one of them"),
        ({"text": {"max_length": 1, "channels": 2}}, "tells of num_classes and text; expected one"),
        ({"latents": {"channels": 1, "mean": 0, "deviation": 1}}, "latents and of code_dim, code"),
        ({"grid": "2x5"}, "here.grid is '2x5'"),
        ({"latents": 3}, "here.latents is 3"),
    ],
)
def test_fields_that_do_not_fit_together_are_told(fields, match):
    with pytest.raises(errors.UserError, match=match):
        spaces.of_fields(FLAT | fields, "here")


@pytest.mark.parametrize("fields", [1.5, None, "grid", [4, 4]])
def test_what_is_no_mapping_of_fields_is_told(fields):
    with pytest.raises(errors.UserError, match="here is .*; expected the fields of a space"):
        spaces.of_fields(fields, "here")
