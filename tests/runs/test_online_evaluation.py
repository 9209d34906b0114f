"""Evaluation while training logs what `resgen evaluate` finds afterwards in the same state."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_features

from resgen_jax.convert import weights
from resgen_jax.runs import online_evaluation, sampling
from resgen_jax.training.telemetry import writer

NETWORK = tiny_features.network(name="mobilenet", distance_name="FD-mobilenet")
ON = ("--config.evaluation.features=mobilenet", "--config.evaluation.batch_size=40")


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    """The tiny network in place of every one whose weights are not here."""
    params = NETWORK.init(jax.random.key(0))
    monkeypatch.setattr(weights, "load_features", lambda name, directory: (NETWORK, params))
    monkeypatch.setattr(weights, "fingerprints", lambda name, directory: {})


def evaluations(workdir):
    return [line for line in writer.read(workdir) if line["split"] == "evaluation"]


@pytest.mark.slow
def test_a_generator_logs_the_distance_of_its_samples(runs, place):
    place.succeed(
        "train",
        f"--config={place.generator_config}",
        f"--workdir={place.generator}",
        f"--config.data.codes={runs.codes}",
        "--config.train.evaluate_every=2",
        "--config.evaluation.num_samples=40",
        "--config.evaluation.every=4",
        *ON,
    )
    (line,) = evaluations(place.generator)
    assert line["step"] == 4
    output = place.folder / "evaluate.json"
    place.succeed(
        "evaluate",
        f"--workdir={place.generator}",
        "--features=mobilenet",
        "--num_samples=40",
        "--batch_size=40",
        f"--output={output}",
    )
    found = json.loads(output.read_text())["metrics"]
    words = ("FD", "MIND", "IS", "precision", "recall")
    logged = {f"{word}-mobilenet" for word in words}
    # Of the classes, the verb alone judges.
    judged = ("class_agreement", "judge_accuracy", "variety")
    assert set(found) - logged == {f"{word}-mobilenet" for word in judged}
    for name in logged:
        np.testing.assert_allclose(line[name], found[name], rtol=1e-4)


@pytest.mark.slow
def test_a_tokenizer_logs_its_reconstructions(place):
    place.succeed(
        "train",
        f"--config={place.tokenizer_config}",
        f"--workdir={place.tokenizer}",
        "--config.evaluation.num_samples=30",
        *ON,
    )
    lines = evaluations(place.tokenizer)
    assert [line["step"] for line in lines] == [4, 6]
    output = place.folder / "evaluate.json"
    place.succeed(
        "evaluate",
        f"--workdir={place.tokenizer}",
        "--features=mobilenet",
        "--num_images=30",
        "--batch_size=40",
        f"--output={output}",
    )
    found = json.loads(output.read_text())["metrics"]
    for name in ("PSNR", "rFD-mobilenet"):
        np.testing.assert_allclose(lines[-1][name], found[name], rtol=1e-3)
    assert lines[0]["rFD-mobilenet"] != lines[1]["rFD-mobilenet"]


def test_the_first_images_are_shown_in_rows():
    """Of 11 images 9 are asked for: a row of 8, above what is made of each."""
    images = np.arange(11, dtype=np.uint8)[:, None, None, None] * np.ones((1, 80, 80, 1), np.uint8)
    shown = online_evaluation._Shown(9)
    for batch in (images, images[::-1]):
        shown.compare(jnp.asarray(batch), jnp.asarray(batch[:, None] + np.uint8(100)))
    sheet = shown.picture("pairs")["pairs"]
    colours = sorted(set(np.unique(sheet)) - {255})
    assert colours == [*range(8), *range(100, 108)]
    samples = online_evaluation._Shown(3)
    batch = sampling.Batch(jnp.asarray(images), jnp.zeros((11, 1, 1), jnp.int32), 2)
    assert list(samples.watch([batch])) == [batch]
    assert set(np.unique(samples.picture("samples")["samples"])) == {0, 1, 255}
    none = online_evaluation._Shown(0)
    assert list(none.watch([batch])) == [batch]
    assert none.picture("samples") == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config.evaluation.every=3", *ON), "a multiple of train.evaluate_every, which is 4"),
        (("--config.evaluation.num_samples=0",), "evaluation.num_samples is 0; expected 2 or more"),
    ],
)
def test_mistakes_are_told_before_training(place, arguments, message):
    command = (f"--config={place.tokenizer_config}", f"--workdir={place.tokenizer}", *arguments)
    code, _, err = place.resgen("train", *command)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not writer.read(place.tokenizer)


def test_missing_weights_are_told_before_training(place, monkeypatch):
    monkeypatch.undo()
    arguments = (f"--config={place.tokenizer_config}", f"--workdir={place.tokenizer}", *ON)
    code, _, err = place.resgen("train", *arguments, f"--config.evaluation.weights={place.folder}")
    assert code == 2
    assert "the weights of MobileNetV2 1.0 224 are not in" in err
    assert not writer.read(place.tokenizer)
