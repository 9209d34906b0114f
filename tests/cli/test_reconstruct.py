"""Reconstruct: figures agree with the tokenizer run image by image, and the picture is written."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from resgen_jax.data import images, sources
from resgen_jax.evaluation import reconstruction
from resgen_jax.runs import open_run, reconstruct


def test_figures_are_those_of_every_held_out_image(runs):
    out = runs.succeed("reconstruct", f"--workdir={runs.tokenizer}", "--batch_size=100")
    figures = json.loads((runs.tokenizer / "reconstruct.json").read_text())
    tokenizer = open_run.open_tokenizer(runs.tokenizer, note=lambda text: None)
    held_out = sources.open_images(sources.Spec("digits", 8, 1, 16)).held_out
    pixels = images.to_unit(np.stack([held_out[index]["images"] for index in range(360)]))
    model, variables = tokenizer.model, (tokenizer.params, tokenizer.statistics)
    codes = model.encode(*variables, jnp.asarray(pixels))
    for depth in (1, 2, 3):
        decoded = np.clip(model.decode(*variables, codes[..., :depth]), -1, 1)
        psnr = 10 * np.log10(4 / np.mean((decoded - pixels) ** 2, axis=(1, 2, 3)))
        np.testing.assert_allclose(figures["psnr_by_depth"][depth - 1], psnr.mean(), rtol=1e-5)
        used = len(np.unique(np.asarray(codes[..., depth - 1]))) / 8
        np.testing.assert_allclose(figures["usage_by_level"][depth - 1], used)
    assert figures["num_images"] == 360
    assert f"depth 3: PSNR {figures['psnr']:.2f} dB" in out
    with Image.open(runs.tokenizer / "reconstructions.png") as picture:
        assert min(picture.size) > 100


def test_distances_are_bounded_by_what_a_device_holds(runs, tmp_path, monkeypatch):
    seen, evaluate = [], reconstruction.evaluate

    def look(*arguments, **named):
        seen.append(dict(jax.sharding.get_abstract_mesh().shape))
        return evaluate(*arguments, **named)

    monkeypatch.setattr(reconstruction, "evaluate", look)
    tokenizer = open_run.open_tokenizer(runs.tokenizer, note=lambda text: None)
    reconstruct.reconstruct(tokenizer, tmp_path)
    assert seen == [dict(tokenizer.mesh.shape)]


def test_what_is_not_a_tokenizers_run_is_told(runs, tmp_path):
    for workdir, message in (
        (tmp_path, "is not a run directory"),
        (runs.generator, "is a run of the task 'resgen', a generator; this needs a tokenizer"),
    ):
        code, _, err = runs.resgen("reconstruct", f"--workdir={workdir}")
        assert code == 2
        assert message in err


def test_run_without_a_checkpoint_is_told(runs, tmp_path):
    (tmp_path / "config.json").write_bytes((runs.tokenizer / "config.json").read_bytes())
    code, _, err = runs.resgen("reconstruct", f"--workdir={tmp_path}")
    assert code == 2
    assert "holds no checkpoint: train first" in err
