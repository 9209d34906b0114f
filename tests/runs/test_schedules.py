"""A run that goes on for longer: what its learning rate becomes is said, and how to keep it."""

import pytest

from resgen_jax.runs import run_directory, schedules
from resgen_jax.runs.configs import configuration

RATE = ("optimizer.learning_rate", "1e-3")


@pytest.fixture
def change(place):
    """The words where a run of 2,500 steps, saved at `step`, goes on with these fields."""

    def words(step=2500, before=(), **fields):
        def config(more):
            given = [RATE, ("train.num_steps", "2500"), *more]
            return configuration.load(str(place.tokenizer_config), given)

        workdir = place.folder / "run"
        run_directory.start_or_continue(workdir, config(before))
        assert schedules.change(config(fields.items()), workdir) is None  # nothing is saved yet
        (workdir / "checkpoints" / str(step)).mkdir(parents=True)
        return schedules.change(config(fields.items()), workdir)

    return words


def test_a_stretched_decay_is_told_with_both_rates_and_the_way_to_keep_it(change):
    """The cosine of 2,500 steps ends at 1e-3 / 2 (1 - cos(pi / 2500)) = 3.9e-10."""
    words = change(**{"train.num_steps": "5000"})
    assert "the learning rate was 3.9e-10 at step 2500 and goes on at 0.0005:" in words
    assert "it now decays over 5000 steps, not 2500" in words
    assert "--config.optimizer.rewarm_at=2500" in words


def test_what_was_offered_is_taken_and_only_the_rates_are_told(change):
    words = change(
        **{
            "train.num_steps": "5000",
            "optimizer.rewarm_at": "2500",
            "optimizer.warmup_steps": "10",
        },
        before=[("optimizer.warmup_steps", "10")],
    )
    assert words == "the learning rate was 3.9e-10 at step 2500 and goes on at 0.0001"


def test_fewer_steps_are_told_too(change):
    words = change(step=1000, **{"train.num_steps": "2000"})
    assert words == "the learning rate was 0.00066 at step 1000 and goes on at 0.0005"


def test_a_warm_up_is_not_offered_where_there_is_no_room_for_it(change):
    warm = [("optimizer.warmup_steps", "100")]
    words = change(**{"train.num_steps": "2550"}, **dict(warm), before=warm)
    assert "rewarm_at" not in words


@pytest.mark.parametrize(
    ("fields", "before"),
    [
        ({}, ()),
        ({"train.log_every": "7"}, ()),
        (
            {"train.num_steps": "5000", "optimizer.decay": "constant"},
            [("optimizer.decay", "constant")],
        ),
    ],
)
def test_nothing_is_said_where_the_rates_stay(change, fields, before):
    assert change(**fields, before=before) is None
