"""Schedules by hand, and the counts that they turn into."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.processes import mask_schedules

NAMES = ["cosine", "linear", "arccos", "pow2", "pow3", "pow:2.5", "pow0.5"]


@pytest.mark.parametrize("name", NAMES)
def test_ends_are_exact_and_it_only_falls(name):
    schedule = mask_schedules.by_name(name)
    for ratio in (np.linspace(0, 1, 101), jnp.linspace(0, 1, 101)):
        value = jax.jit(schedule)(ratio) if isinstance(ratio, jax.Array) else schedule(ratio)
        assert value[0] == 1
        assert value[-1] == 0
        assert (np.diff(value) < 0).all()


@pytest.mark.parametrize(
    ("name", "values", "mean"),
    [
        ("cosine", [1, 0.924, 0.707, 0.383], 0.637),
        ("pow2", [1, 0.968, 0.866, 0.661], 0.785),
        ("pow3", [1, 0.995, 0.956, 0.833], 0.883),
        ("linear", [1, 0.75, 0.5, 0.25], 0.5),
        ("arccos", [1, 0.839, 0.667, 0.460], 0.637),
    ],
)
def test_values_and_mean_mask_ratio(name, values, mean):
    schedule = mask_schedules.by_name(name)
    np.testing.assert_allclose(schedule(np.array([0, 0.25, 0.5, 0.75])), values, atol=6e-4)
    assert schedule((np.arange(10_000) + 0.5) / 10_000).mean() == pytest.approx(mean, abs=6e-4)


def test_pow_and_cosine_have_the_inverses_they_claim():
    ratio = np.linspace(0, 1, 33)
    pow3 = mask_schedules.power(3.0)
    np.testing.assert_allclose(pow3(pow3(ratio)), ratio, atol=1e-6)
    np.testing.assert_allclose(
        mask_schedules.arccos(mask_schedules.cosine(ratio)), ratio, atol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cosin", "did you mean 'cosine'"),
        ("pow", "pow"),
        ("zzz", "known: .*pow:2.5"),
        ("pow0", "above 0"),
    ],
)
def test_unknown_names_are_refused_with_a_hint(name, hint):
    with pytest.raises(errors.UserError, match=hint):
        mask_schedules.by_name(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_tokens", [1, 7, 32, 512])
def test_counts_fall_at_every_step_to_zero(name, num_tokens):
    schedule = mask_schedules.by_name(name)
    for num_steps in {1, 2, 5, num_tokens // 2, num_tokens - 1, num_tokens}:
        if not 1 <= num_steps <= num_tokens:
            continue
        counts = mask_schedules.num_masked_per_step(schedule, num_steps, num_tokens)
        assert counts.shape == (num_steps,)
        assert counts[-1] == 0
        assert (np.diff(np.concatenate([[num_tokens], counts])) < 0).all()


def test_counts_are_the_schedule_where_it_falls_fast_enough():
    counts = mask_schedules.num_masked_per_step(mask_schedules.cosine, 8, 512)
    np.testing.assert_array_equal(counts, [503, 474, 426, 363, 285, 196, 100, 0])
    # whole values must not be rounded up: cos(pi / 3) 64 is 32, not 33
    counts = mask_schedules.num_masked_per_step(mask_schedules.cosine, 3, 64)
    np.testing.assert_array_equal(counts, [56, 32, 0])
    counts = mask_schedules.num_masked_per_step(mask_schedules.linear, 10, 1000)
    np.testing.assert_array_equal(counts, np.arange(900, -1, -100))


def test_counts_leave_a_token_for_every_later_step():
    # pow3 alone would stay at 20, 20, 20, ...: each step takes one until the schedule overtakes
    counts = mask_schedules.num_masked_per_step(mask_schedules.power(3.0), 10, 20)
    np.testing.assert_array_equal(counts, [19, 18, 17, 16, 15, 14, 13, 12, 11, 0])


@pytest.mark.parametrize("num_steps", [0, -1, 9])
def test_steps_out_of_range_are_refused(num_steps):
    with pytest.raises(errors.UserError, match="8 masked tokens; expected 1 to 8"):
        mask_schedules.num_masked_per_step(mask_schedules.cosine, num_steps, 8)


def test_each_example_gets_its_own_counts():
    counts = mask_schedules.num_masked_per_example(
        mask_schedules.cosine, 6, np.array([40, 12, 6, 3, 0])
    )
    for column, num_tokens in enumerate([40, 12, 6]):
        expected = mask_schedules.num_masked_per_step(mask_schedules.cosine, 6, num_tokens)
        np.testing.assert_array_equal(counts[:, column], expected)
    # fewer tokens than steps: the bare schedule, never rising
    np.testing.assert_array_equal(counts[:, 3], [3, 3, 3, 2, 1, 0])
    np.testing.assert_array_equal(counts[:, 4], 0)
    with pytest.raises(errors.UserError, match="6 sampling steps for 5"):
        mask_schedules.num_masked_per_example(mask_schedules.cosine, 6, np.array([5, 2]))
