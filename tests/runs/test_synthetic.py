"""Training on noise needs nothing on the disk, resumes, and is never taken for a model."""

import json

import pytest

from resgen_jax.runs import experiments, synthetic
from resgen_jax.runs.configs import configuration

SPACE = """
def get_config(arg=""):
    import ml_collections, runpy
    config = runpy.run_path({path!r})["get_config"]()
    config.space = ml_collections.ConfigDict(
        dict(grid=(2, 4), depth=3, codebook_size=8, code_dim=4, num_classes=5)
    )
    return config
"""


@pytest.fixture
def generator(place):
    """A generator's config that knows its sizes without codes."""
    config = place.folder / "space.py"
    config.write_text(SPACE.format(path=str(place.generator_config)))
    return config


def train(place, config, workdir, *more):
    return ("train", f"--config={config}", f"--workdir={workdir}", "--synthetic_data", *more)


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_tokenizer_trains_without_its_data_and_goes_on(place):
    command = train(
        place,
        place.tokenizer_config,
        place.tokenizer,
        "--config.data.source=folder",
        "--config.data.path=/nowhere",
    )
    code, out, err = place.resgen(*command, "--config.train.num_steps=3")
    assert code == 0, err
    assert "synthetic data: what this trains is of no use" in err
    assert "next:" not in out
    assert json.loads((place.tokenizer / "config.json").read_text())["synthetic_data"] is True
    place.succeed(*command)
    steps = [line["step"] for line in lines(place.tokenizer) if line["split"] == "train"]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_a_generator_trains_without_codes(place, generator):
    place.succeed(*train(place, generator, place.generator))
    assert lines(place.generator)[-1]["step"] == 4
    code, _, err = place.resgen(*train(place, place.generator_config, place.folder / "other"))
    assert code == 2
    assert "the sizes of the codes are not known" in err


def test_its_run_is_refused_wherever_a_model_is_wanted(place):
    place.succeed(*train(place, place.tokenizer_config, place.tokenizer))
    verbs = (
        ("encode", f"--output={place.codes}"),
        ("reconstruct",),
        ("convert", "--to=safetensors", f"--output={place.folder / 'exported'}"),
    )
    for verb, *more in verbs:
        code, _, err = place.resgen(verb, f"--workdir={place.tokenizer}", *more)
        assert code == 2
        assert "was trained on noise (--synthetic_data)" in err
    code, _, err = place.resgen(*train(place, place.tokenizer_config, place.tokenizer)[:-1])
    assert code == 2
    assert "synthetic_data is True there and None here" in err


def test_its_batches_have_the_shapes_of_real_ones(place, tmp_path):
    config = configuration.load(str(place.tokenizer_config))
    real = experiments.open_experiment(config, tmp_path / "real", note=lambda text: None)
    made = synthetic.open_experiment(config, tmp_path / "made")
    wanted = next(real.iterator)
    wanted.pop("labels")  # a tokenizer does not look at them
    for batch in (next(made.iterator), next(made.iterator)):
        assert {name: (x.shape, x.dtype) for name, x in batch.items()} == {
            name: (x.shape, x.dtype) for name, x in wanted.items()
        }
    for batch in made.held_out(0):
        assert batch["is_valid"].shape == (16,)


def test_perceptual_weights_are_made_up_too(place):
    config = configuration.load("tokenizers/rq_vae_natural64.py")
    assert config.loss.perceptual
    assert synthetic.assumed(config).task is not None
