"""Arguments of users: what is right passes as it is, what is not is told with its value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import checked, errors, keys


def test_whole_numbers_pass_in_any_dtype():
    for given in ([0, 2], (0.0, 2.0), np.array([0, 2], np.uint16), jnp.array([0.0, 2.0])):
        found = checked.labels(given, 3)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, [0, 2])
    assert checked.labels([], 3).shape == (0,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([0, 1.7], "labels hold 1.7; expected whole numbers"),
        ([float("nan")], "labels hold nan"),
        ([1e300], "labels hold 1e"),
        ([True], "labels are bool"),
        (["a"], "labels are <U1"),
        ([2**70], "labels are object"),
        ([-1, 1], "labels run from -1 to 1; expected 0 to 2"),
        ([2**40], "labels run from 1099511627776 to"),
        (np.array([2**64 - 1], np.uint64), "labels run from 18446744073709551615"),
        ([[1]], r"shape \(1, 1\); expected a list"),
        ([[1], [1, 2]], "labels are no array"),
    ],
)
def test_labels_that_are_none_are_refused(given, message):
    with pytest.raises(errors.UserError, match=message):
        checked.labels(given, 3)


def test_codes_may_be_cut_along_the_last_axis_alone():
    found = checked.codes(np.zeros((2, 4, 1), np.uint8), (4, 3), 5)
    assert (found.shape, found.dtype) == ((2, 4, 1), jnp.int32)
    assert checked.codes(np.zeros((0, 4, 3), int), (4, 3), 5).shape == (0, 4, 3)
    for shape in ((2, 4, 4), (2, 3, 3), (2, 4, 0), (4, 3), (2, 4)):
        with pytest.raises(errors.UserError, match=r"expected \(b, 4, 1 to 3\)"):
            checked.codes(np.zeros(shape, int), (4, 3), 5)
    with pytest.raises(errors.UserError, match=r"expected \(b, 4, 3\)"):
        checked.codes(np.zeros((2, 4, 1), int), (4, 3), 5, 3)


@pytest.mark.parametrize(
    ("number", "message"),
    [(5, "from 5 to 5; expected 0 to 4"), (-1, "from -1 to -1"), (1.0, "codes are float64")],
)
def test_codes_beyond_the_codebook_are_refused(number, message):
    with pytest.raises(errors.UserError, match=message):
        checked.codes(np.full((1, 4, 3), number), (4, 3), 5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, jnp.bfloat16])
def test_pixels_of_the_right_range_pass(dtype):
    given = jnp.array([-1, 0, 0.5, 1], jnp.float32).reshape(1, 2, 2, 1)
    assert checked.images(np.asarray(given).astype(dtype), 2, 1).dtype == dtype
    assert checked.images(np.full((1, 2, 2, 1), 255, np.uint8), 2, 1).dtype == np.uint8
    assert checked.images(np.zeros((0, 2, 2, 1)), 2, 1).shape == (0, 2, 2, 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.full((1, 2, 2, 1), 255.0), "float64 of 255 to 255; expected floats of -1 to 1, or"),
        (jnp.full((1, 2, 2, 1), -1.1), "float32 of -1.1 to -1.1"),
        (np.full((1, 2, 2, 1), np.nan, np.float32), "images hold NaN or infinity"),
        (np.full((1, 2, 2, 1), 255, np.int32), "images are int32; expected uint8"),
        (np.full((1, 2, 2, 1), True), "images are bool"),
        (np.zeros((2, 2, 1), np.uint8), r"shape \(2, 2, 1\); expected \(b, 2, 2, 1\)"),
        (np.zeros((1, 2, 2, 3), np.uint8), r"shape \(1, 2, 2, 3\)"),
    ],
)
def test_pixels_of_another_range_are_refused(given, message):
    with pytest.raises(errors.UserError, match=message):
        checked.images(given, 2, 1)


def test_of_traced_arrays_only_shape_and_dtype_are_looked_at():
    pixels = jnp.full((1, 2, 2, 1), 9.0)
    np.testing.assert_array_equal(jax.jit(lambda x: checked.images(x, 2, 1))(pixels), pixels)
    assert jax.jit(lambda x: checked.labels(x, 3))(jnp.array([7])).tolist() == [7]
    assert jax.jit(lambda x: checked.codes(x, (1,), 3))(jnp.array([[7]])).tolist() == [[7]]
    with pytest.raises(errors.UserError, match="labels are float32; expected whole numbers"):
        jax.jit(lambda x: checked.labels(x, 3))(jnp.array([1.7]))


def test_a_seed_makes_its_key_and_a_key_is_one():
    expected = jax.random.key_data(jax.random.key(7))
    for given in (7, np.int64(7), jax.random.key(7), jax.random.PRNGKey(7)):
        found = keys.of(given)
        data = found if found.dtype == jnp.uint32 else jax.random.key_data(found)
        np.testing.assert_array_equal(data, expected)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (-1, "key is -1; expected 0 to 4294967295"),
        (2**32, "key is 4294967296"),
        (10**40, "a number of more than 30 digits"),
        (1.5, "key is of type float"),
        (True, "key is of type bool"),
        (None, "key is of type NoneType"),
        (jnp.arange(3), "key is int32 of shape"),
    ],
)
def test_what_is_no_key_is_refused(key, message):
    with pytest.raises(errors.UserError, match=message):
        keys.of(key)


def test_the_largest_seed_is_used_in_full():
    made = [jax.random.key_data(keys.of(seed)).tolist() for seed in (2**32 - 1, 2**31 - 1, 2**31)]
    assert len(set(map(tuple, made))) == 3
