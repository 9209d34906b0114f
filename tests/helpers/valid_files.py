"""Whole files of every form that the library reads, small, for damage to be done to them."""

import io
import json
import os
import pathlib

import image_files
import jax
import numpy as np
import tiny_codes
import tiny_configs
import torch_format
from PIL import Image

from resgen_jax.convert import exports, safetensors_files
from resgen_jax.core import spaces
from resgen_jax.data import codes_writer, tars
from resgen_jax.evaluation import archive
from resgen_jax.generators import rq_transformer
from resgen_jax.quantizers import multi_scale
from resgen_jax.runs import convert, experiments
from resgen_jax.runs.configs import configuration
from resgen_jax.tokenizers import multi_scale_vae, rq_vae
from resgen_jax.training import placement
from resgen_jax.training.checkpoints import checkpoint
from resgen_jax.training.state import TrainState
from resgen_jax.training.telemetry import sinks, writer

NUM_FEATURES = 4  # of the statistics
# Networks of few blocks: to trace them is most of what opening a run takes.
SMALL = tiny_configs.TOKENIZER.replace(
    '"num_res_blocks": 1',
    '"num_res_blocks": 0, "num_decoder_res_blocks": 0, "num_middle_blocks": 1, '
    '"has_middle_attention": False',
)
IMAGE_FORMATS = {
    "png": {},
    "jpg": {},
    "tif": {"compression": "tiff_deflate"},
    "webp": {},
    "gif": {},
    "bmp": {},
}


def weights(path: pathlib.Path) -> pathlib.Path:
    """A state dict of three arrays: .pt as now, .pth as it was, .safetensors, .npz."""
    rng = np.random.default_rng(0)
    arrays = {
        "first.weight": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "first.bias": np.zeros(8, np.float32),
        "second.weight": rng.normal(size=(16, 8)).astype(np.float32),
    }
    if path.suffix == ".safetensors":
        safetensors_files.write(path, arrays, {"format": "pt"})
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        torch_format.save(path, {"state_dict": arrays, "step": 3}, legacy=path.suffix == ".pth")
    return path


def picture(path: pathlib.Path) -> pathlib.Path:
    """A picture in the format of its suffix."""
    rng = np.random.default_rng(0)
    pixels = (rng.integers(0, 60, (40, 56, 3)) + np.arange(56)[None, :, None] * 3).astype(np.uint8)
    Image.fromarray(pixels).save(path, **IMAGE_FORMATS[path.suffix[1:]])
    return path


def samples(path: pathlib.Path) -> pathlib.Path:
    """Images as the ADM evaluator takes them, with a note of how they were drawn."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    np.savez(path, arr_0=pixels, sampler=json.dumps({"num_steps": 3}))
    return path


def packed_samples(path: pathlib.Path) -> pathlib.Path:
    """The same, compressed."""
    np.savez_compressed(path, arr_0=np.random.default_rng(0).integers(0, 9, (6, 8, 8, 3), np.uint8))
    return path


def statistics(path: pathlib.Path) -> pathlib.Path:
    """Mean and covariance of features."""
    with archive.writing(path) as out:
        out.array("meta", json.dumps({"network": "toy", "num_images": 9}))
        out.array("mu", np.zeros(NUM_FEATURES))
        out.array("sigma", np.eye(NUM_FEATURES))
    return path


def _images(path: pathlib.Path) -> object:
    return image_files.encoded(image_files.make_folder(path.with_name(f"{path.name}-images"), 3, 1))


def tar(path: pathlib.Path) -> pathlib.Path:
    """A tar of images with labels."""
    image_files.write_tars(path, _images(path), size=100)
    return path


def indexed_tar(path: pathlib.Path) -> pathlib.Path:
    """The same, looked through before."""
    for file in sorted(tar(path).glob("*.tar")):
        tars.index(file)
    return path


def parquet(path: pathlib.Path) -> pathlib.Path:
    """Tables of images."""
    image_files.write_parquet(path, _images(path))
    return path


def shards(path: pathlib.Path) -> pathlib.Path:
    """ArrayRecord shards of images."""
    image_files.write_array_records(path, _images(path))
    return path


def codes(path: pathlib.Path) -> pathlib.Path:
    """A codes directory."""
    codes_writer.write(
        path,
        train=tiny_codes.records(10),
        held_out=tiny_codes.records(3, 7),
        codebooks=tiny_codes.CODEBOOKS,
        meta=tiny_codes.META,
        records_per_shard=100,
    )
    return path


def tokenizer_run(path: pathlib.Path) -> pathlib.Path:
    """The run directory of a tokenizer."""
    return _run(path, SMALL, [])


def generator_run(path: pathlib.Path) -> pathlib.Path:
    """The run directory of a generator, with its codes inside of it."""
    made = codes(path / "codes")
    return _run(path, tiny_configs.GENERATOR, [("data.codes", os.fspath(made))])


def _run(path: pathlib.Path, text: str, overrides: list[tuple[str, str]]) -> pathlib.Path:
    """A run whose only checkpoint holds zeros: nothing is compiled for it."""
    path.mkdir(exist_ok=True)
    file = path / "config.py"
    file.write_text(text)
    config = configuration.load(os.fspath(file), overrides)
    experiment = experiments.open_experiment(config, path, lambda text: None)
    abstract = placement.abstract_state(experiment.mesh, experiment.task)
    state: TrainState = jax.tree.map(
        lambda leaf: jax.device_put(np.zeros(leaf.shape, leaf.dtype), leaf.sharding), abstract
    )
    facts = {"task": experiment.task.name, "seed": config.seed}
    with checkpoint.Checkpoints(path, facts=facts) as checkpoints:
        checkpoints.save(2, state, experiment.iterator)
    lines = sinks.JsonLines(path)
    for step in (1, 2):
        lines.write(step, "train", {"loss": 1.0 / step})
    lines.close()
    assert len(writer.read(path)) == 2
    return path


def tokenizer_export(path: pathlib.Path) -> pathlib.Path:
    """The tokenizer as `resgen convert` exports it."""
    run = tokenizer_run(path.with_name(f"{path.name}-run"))
    return exports.write(path, *convert.of_run(os.fspath(run)))


def generator_export(path: pathlib.Path) -> pathlib.Path:
    """The generator as `resgen convert` exports it."""
    run = generator_run(path.with_name(f"{path.name}-run"))
    return exports.write(path, *convert.of_run(os.fspath(run)))


def scales_export(path: pathlib.Path) -> pathlib.Path:
    """A tokenizer of many scales, as of VAR."""
    model = rq_vae.Spec(
        image_size=8,
        channels=1,
        width=8,
        multipliers=(1, 1),
        num_res_blocks=0,
        num_decoder_res_blocks=0,
        num_middle_blocks=1,
        has_middle_attention=False,
        code_dim=4,
    )
    scales = multi_scale.Spec(scales=(1, 2, 4), grid_side=4, num_phi=2)
    made = multi_scale_vae.make(model, scales, 6)
    params = _zeros(jax.eval_shape(made.init, jax.random.key(0)))
    return exports.write(path, exports.of_multi_scale_vae(model, scales, 6, params), {})


def predictor_export(path: pathlib.Path) -> pathlib.Path:
    """An RQ-Transformer."""
    spec = rq_transformer.Spec(width=8, num_heads=2, num_body_layers=1, num_head_layers=1)
    space = spaces.image_codes((2, 2), depth=2, codebook_size=5, code_dim=3, num_classes=2)
    made = rq_transformer.make(spec, space)
    params = _zeros(jax.eval_shape(made.init, jax.random.key(0)))
    return exports.write(path, exports.of_rq_transformer(spec, space, params), {})


def _zeros(abstract: object) -> object:
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), abstract)


def encoded_picture(form: str, size: tuple[int, int] = (24, 16), **more: object) -> bytes:
    """A gray picture of 24x16 noise as the bytes of a file; a larger one is black else."""
    buffer, picture = io.BytesIO(), Image.new("L", size)
    noise = np.random.default_rng(0).integers(0, 255, (16, 24), np.uint8)
    picture.paste(Image.fromarray(noise))
    picture.save(buffer, form, **more)
    return buffer.getvalue()
