"""When evaluation in training is due, and which settings are refused."""

import pytest

from resgen_jax.core import errors
from resgen_jax.evaluation import online


def test_due_steps():
    assert not online.Spec().is_on
    spec = online.Spec(features="mobilenet", every=200)
    assert [step for step in range(100, 1000, 100) if spec.is_due(step, 900)] == [
        200, 400, 600, 800, 900,
    ]  # fmt: skip
    assert online.Spec(features="mobilenet").is_due(100, 900)


def test_cadence_has_to_fall_on_steps_that_are_measured():
    online.Spec(every=200).check_cadence(100)
    online.Spec().check_cadence(0)
    for every in (0, 300):
        with pytest.raises(errors.UserError, match="a multiple of train.evaluate_every"):
            online.Spec(every=200).check_cadence(every)


@pytest.mark.parametrize(
    "field", [{"every": -1}, {"num_samples": 1}, {"num_reference": -1}, {"batch_size": 0}]
)
def test_numbers_out_of_range_are_refused(field):
    with pytest.raises(errors.UserError, match=next(iter(field))):
        online.Spec(**field)
