"""Train: both stages from configs, exact resume, and another config's run is refused."""

import json
import os
import signal

import pytest

from resgen_jax.core import errors
from resgen_jax.runs import consensus, train
from resgen_jax.runs.configs import configuration, sections
from resgen_jax.training import loop


def losses(workdir, split="train"):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["split"] == split}


def command(place, name, *arguments):
    config = {"tokenizer": place.tokenizer_config, "generator": place.generator_config}[name]
    return ("train", f"--config={config}", *arguments)


def test_stopped_run_goes_on_with_the_same_command_and_the_same_losses(place):
    whole, parts = place.folder / "whole", place.folder / "parts"
    out = place.succeed(*command(place, "tokenizer", f"--workdir={whole}"))
    assert "done: 6 steps" in out
    assert f"resgen encode --workdir={whole}" in out

    stopped = command(place, "tokenizer", f"--workdir={parts}")
    err = place.stop_after(2, *stopped)
    assert "and saved" in err
    assert f"go on with: resgen {' '.join(stopped)}" in err
    assert err.count("stopping after this step, saving") == 1
    step = max(losses(parts))
    assert step < 6
    code, _, err = place.resgen(*stopped)
    assert code == 0
    assert f"going on from step {step} of 6" in err
    assert losses(parts) == losses(whole)
    assert losses(parts, "held_out") == losses(whole, "held_out")


@pytest.mark.parametrize("verb", ["train", "demo"])
def test_what_another_run_writes_is_refused_and_stays_as_it_is(place, verb):
    with consensus.alone(place.tokenizer, print):
        there = sorted(place.tokenizer.rglob("*"))
        arguments = command(place, "tokenizer") if verb == "train" else ("demo", "--fast")
        code, _, said = place.resgen(*arguments, f"--workdir={place.tokenizer}")
        assert code == 2
        assert f"{place.tokenizer} is in use: process {os.getpid()} on " in said
        assert sorted(place.tokenizer.rglob("*")) == there
    assert not place.tokenizer.exists()


def test_levels_that_are_not_worth_their_codes_are_told(place, monkeypatch):
    monkeypatch.setattr(train.remarks.levels, "adding_little", lambda psnr: (2, len(psnr)))
    code, _, err = place.resgen(*command(place, "tokenizer", f"--workdir={place.tokenizer}"))
    assert code == 0
    assert (
        err.count("depths 2 and 3 add less than 0.1 dB of held-out PSNR each") == 1
    )  # at 4, not again at 6


def test_a_notice_while_data_are_opened_stops_cleanly(place, monkeypatch):
    monkeypatch.setattr(
        train.experiments,
        "open_experiment",
        lambda *arguments: signal.raise_signal(signal.SIGTERM),
    )
    before = signal.getsignal(signal.SIGTERM)
    arguments = command(place, "tokenizer", f"--workdir={place.tokenizer}")
    code, _, err = place.resgen(*arguments)
    assert code == 3
    assert "stopped before training began: nothing to save" in err
    assert f"go on with: resgen {' '.join(arguments)}" in err
    assert signal.getsignal(signal.SIGTERM) == before


def test_flags_to_look_inside_are_followed_and_the_time_is_summed_up(place):
    arguments = command(place, "tokenizer", f"--workdir={place.tokenizer}")
    code, _, err = place.resgen(*arguments, "--profile_steps=2:4", "--dump_hlo")
    assert code == 0, err
    assert list(place.tokenizer.glob("profile/plugins/profile/*/*.xplane.pb"))
    assert (place.tokenizer / "programs" / "step.hlo.txt").is_file()
    assert "goodput " in err
    assert "TFLOP/s" not in err  # of a toy


def test_arithmetic_is_shown_where_it_says_something():
    metrics = {"loss": 0.5, "grad_norm": 2.0, "tflops_per_device": 8e-06}
    assert train.shown(metrics) == {"loss": 0.5}
    found = train.shown(metrics | {"tflops_per_device": 95.2, "mfu": 0.48})
    assert found == {"loss": 0.5, "TFLOP/s/device": 95.2, "MFU": 0.48}
    assert train.shown({}) == {}


def test_generator_trains_on_codes_and_refuses_others_later(runs, place):
    arguments = command(place, "generator", f"--workdir={place.generator}")
    code, _, err = place.resgen(*arguments)
    assert code == 2
    assert "data.codes is empty; write codes with `resgen encode" in err
    place.succeed(*arguments, f"--config.data.codes={runs.codes}")
    assert sorted(losses(place.generator)) == [1, 2, 3, 4]
    described = place.generator / "codes.json"
    fields = json.loads(described.read_text())
    fields["sha256"]["codebooks.npy"] = "another"
    described.write_text(json.dumps(fields))
    code, _, err = place.resgen(*arguments, f"--config.data.codes={runs.codes}")
    assert code == 2
    assert "are not those that the run" in err


def test_run_of_another_config_is_refused_and_a_longer_one_goes_on(runs):
    arguments = command(runs, "tokenizer", f"--workdir={runs.tokenizer}")
    code, _, err = runs.resgen(*arguments, "--config.model.width=16", "--config.seed=1")
    assert code == 2
    assert "model.width is 8 there and 16 here; seed is 0 there and 1 here" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config=nowhere.py",), "no config file 'nowhere.py'"),
        (("--config.optimizer.learnig_rate=1",), "did you mean 'learning_rate'"),
        (("--config.data.batch_size=0",), "data.batch_size 0"),
        (("--config.data.image_size=9",), "image_size 9 is not a multiple of the stride 2"),
        (("--config.quantizer.learner=em",), "did you mean 'ema'"),
        (("--config.train.log_every=0",), "train.log_every is 0; expected 1 or more"),
        (("--config.mesh.fsdp=3",), "mesh"),
        (("--config.train.stall_seconds=-1",), "train.stall_seconds is -1.0; expected 0 or more"),
        (("--profile_steps=5:5",), "--profile_steps is '5:5'; expected FIRST:END"),
        (("--profile_steps=9:12",), "begins at 9, but training ends at step 6"),
        (("--config.data.source=folder", "--config.data.path=/nowhere"), "is not a directory"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(place, arguments, message):
    code, _, err = place.resgen(
        *command(place, "tokenizer", f"--workdir={place.tokenizer}"), *arguments
    )
    assert code == 2
    assert message in err
    assert err.strip().splitlines()[-1].startswith("resgen train: ")
    assert not (place.tokenizer / "checkpoints").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config.sampler.num_steps=49",), "49"),
        (("--config.loss.masks=indep",), "sampler.masks is 'coarse_first' but loss.masks 'indep'"),
        (
            ("--config.loss.code_loss_weight=0", "--config.sampler.proposal=guided"),
            "sampler.proposal is 'guided', but the model has no trained code head",
        ),
    ],
)
def test_a_sampler_that_cannot_be_is_refused_before_training(runs, place, arguments, message):
    code, _, err = place.resgen(
        *command(place, "generator", f"--workdir={place.generator}"),
        f"--config.data.codes={runs.codes}",
        *arguments,
    )
    assert code == 2
    assert message in err
    assert not place.generator.exists()


def test_every_field_has_a_default_in_the_config_and_can_be_set(place):
    config = configuration.load(
        str(place.generator_config),
        [("model.trunk.dropout_rate", "0.5"), ("sampler.top_p", "0.9"), ("optimizer.b2", "0.9")],
    )
    assert config.model.trunk.dropout_rate == 0.5
    assert config.sampler.top_p == 0.9
    assert config.train.keep_last == loop.Spec(num_steps=1).keep_last


def test_fields_that_follow_from_others_and_unknown_sections_are_refused(place):
    import ml_collections

    config = configuration.load_fields(str(place.tokenizer_config))
    with config.unlocked():
        config.model.channels = 1
    with pytest.raises(errors.UserError, match=r"model.channels is taken from data.channels"):
        sections.freeze(config)
    with pytest.raises(errors.UserError, match="section 'modle'; did you mean 'model'"):
        sections.complete(ml_collections.ConfigDict({"task": "rq_vae", "modle": {}}))
    with pytest.raises(errors.UserError, match="is 'resgn'; expected one of 'rq_vae', 'resgen'"):
        sections.complete(ml_collections.ConfigDict({"task": "resgn"}))
