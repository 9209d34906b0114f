"""A run directory and an export give the same model, without its training."""

import pathlib
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import resgen_jax
from resgen_jax.core import errors
from resgen_jax.runs.configs import configuration

ROOT = pathlib.Path(__file__).parents[2]


def test_a_run_and_its_export_are_the_same_tokenizer_and_generator(runs, place):
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    for run in (runs.tokenizer, runs.generator):
        output = place.folder / run.name
        place.succeed("convert", f"--workdir={run}", f"--output={output}", "--to=safetensors")
        opened, exported = resgen_jax.open(run), resgen_jax.open(output)
        np.testing.assert_array_equal(opened.codebooks, exported.codebooks)
        if run == runs.tokenizer:
            codes = opened.encode(images)
            np.testing.assert_array_equal(codes, exported.encode(images))
            np.testing.assert_array_equal(opened.decode(codes), exported.decode(codes))
        else:
            drawn = opened.sample([1, 2], 0, num_steps=2)
            np.testing.assert_array_equal(drawn, exported.sample([1, 2], 0, num_steps=2))
            assert opened.class_names == exported.class_names
    assert resgen_jax.from_pretrained is resgen_jax.open


def test_no_optimizer_and_no_discriminator_is_made_for_a_model(runs, monkeypatch):
    from resgen_jax.training import optimizer

    monkeypatch.setattr(optimizer, "make", None)
    assert "step 0" in repr(resgen_jax.open(runs.tokenizer))
    assert "step 0" in repr(resgen_jax.open(runs.generator))


def test_what_is_neither_is_told(tmp_path):
    with pytest.raises(errors.UserError, match="is no exported model"):
        resgen_jax.open(tmp_path)


@pytest.fixture
def examples():
    """What the page of the Python API shows: models, and a config of one's own."""
    text = (ROOT / "docs" / "python.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, flags=re.S)


def test_the_example_in_the_documents_runs(runs, place, examples, monkeypatch):
    example, _ = examples
    assert len(example.splitlines()) <= 15
    (place.folder / "photos").mkdir()
    for number in range(4):
        Image.new("L", (12, 10), 60 * number).save(place.folder / f"photos/{number}.png")
    shutil.copytree(runs.tokenizer, place.folder / "runs/tokenizer")
    shutil.copytree(runs.generator, place.folder / "runs/generator")
    monkeypatch.chdir(place.folder)
    names = {}
    exec(example, names)
    assert names["samples"].shape == (2, 8, 8, 1)
    assert {path.name for path in place.folder.glob("*.png")} == {"again.png", "samples.png"}


def test_the_config_of_the_documents_is_trained_as_it_is_written(examples, monkeypatch):
    trained = {}
    monkeypatch.setattr(
        resgen_jax, "train", lambda config, workdir: trained.update({workdir: config})
    )
    exec(examples[1], {"resgen_jax": resgen_jax})
    (config,) = map(configuration.frozen, trained.values())
    assert pathlib.Path(config.data.path).name == "photos"
    assert config.data.image_size == 64
