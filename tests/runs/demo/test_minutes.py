"""Minutes of the demo: steps of both stages, measured once, kept for every later start."""

import json

import pytest

from resgen_jax.cli import demo, demo_flags, flags
from resgen_jax.core import errors
from resgen_jax.recipes.on_codes import SpaceSpec
from resgen_jax.runs.demo import minutes


@pytest.fixture
def plan_of(place):
    """The demo's plan for some flags."""

    def make(*arguments):
        parser = flags.Parser("demo", "try", "resgen demo")
        demo_flags.add_flags(parser)
        values, _ = parser.parse([f"--workdir={place.folder / 'demo'}", *arguments])
        return demo.make_plan(values)

    return make


@pytest.fixture
def timed(monkeypatch):
    """Steps that take 0.1 s of the tokenizer and 0.2 s of the generator; the configs timed."""
    found = []

    def step_seconds(config):
        found.append(config)
        return {"rq_vae": 0.1, "resgen": 0.2}[config.task]

    monkeypatch.setattr(minutes, "_step_seconds", step_seconds)
    return found


def test_steps_take_the_seconds_asked_for_and_the_tokenizer_comes_first():
    usual, each = {"tokenizer": 1000, "generator": 2000}, {"tokenizer": 0.1, "generator": 0.2}
    assert minutes.steps_in(500.0, usual, each) == usual  # 1000 x 0.1 s + 2000 x 0.2 s
    assert minutes.steps_in(5000.0, usual, each) == {"tokenizer": 10_000, "generator": 20_000}
    assert minutes.steps_in(300.0, usual, each) == {"tokenizer": 1000, "generator": 1000}
    assert minutes.steps_in(50.0, usual, each) == {"tokenizer": 250, "generator": 125}
    assert minutes.steps_in(0.1, usual, each) == {"tokenizer": 20, "generator": 20}


def test_the_steps_are_measured_once_and_kept(plan_of, timed):
    plan = plan_of()
    usual = plan.tokenizer.train.num_steps * 0.1 + plan.generator.train.num_steps * 0.2
    fitted = minutes.fitted(plan, usual / 60 / 10)
    # Half of the time each: a tenth of it in all is less than the tokenizer's usual length.
    assert fitted.tokenizer.train.num_steps == round(usual / 10 / 2 / 0.1)
    assert fitted.generator.train.num_steps == round(usual / 10 / 2 / 0.2)
    for stage, section, name in (
        ("tokenizer", "loss", "start_step"),
        ("generator", "optimizer", "warmup_steps"),
    ):
        before, after = getattr(plan, stage), getattr(fitted, stage)
        share = after.train.num_steps / before.train.num_steps
        steps = getattr(getattr(before, section), name)
        assert getattr(getattr(after, section), name) == round(share * steps)
    assert fitted.generator.data.codes == plan.generator.data.codes
    assert not fitted.has_targets
    assert timed[1].space == SpaceSpec(
        **{
            "grid": (4, 4),
            "depth": 8,
            "codebook_size": 128,
            "code_dim": 16,
            "num_classes": 10,
        }
    )
    for length in (usual / 60 / 10, None):
        assert minutes.fitted(plan, length) == fitted
    assert len(timed) == 2
    with pytest.raises(errors.UserError, match="here it is 7; leave that out"):
        minutes.fitted(plan, 7.0)
    path = plan.workdir / minutes.FILE
    path.write_text(json.dumps({"minutes": 1, "tokenizer": "all", "generator": 3}))
    with pytest.raises(errors.UserError, match=r"minutes\.json is damaged; remove it"):
        minutes.fitted(plan, None)


def test_a_longer_run_is_measured_as_often_and_saved_no_less(plan_of):
    config = plan_of().generator
    longer = minutes.stretched(config, 4 * config.train.num_steps)
    assert longer.train.evaluate_every == 4 * config.train.evaluate_every
    for section, name in minutes.SHRUNK:
        specs = getattr(longer, section), getattr(config, section)
        assert len({getattr(spec, name, None) for spec in specs}) == 1


def test_without_minutes_the_plan_stays(plan_of, timed):
    plan = plan_of()
    assert minutes.fitted(plan, None) is plan
    assert not timed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes=0"], "--minutes is 0; expected a number above 0"),
        (["--minutes=nan"], "--minutes is nan"),
        (["--minutes=3", "--fast"], "leave one out"),
        (["--minutes=3", "--images=/nowhere"], "'/nowhere' is not a directory"),
    ],
)
def test_mistakes_are_told_before_anything_is_timed(place, timed, arguments, message):
    code, _, err = place.resgen("demo", f"--workdir={place.folder / 'demo'}", *arguments)
    assert code == 2
    assert message in err
    assert not timed
    assert not (place.folder / "demo" / minutes.FILE).exists()
