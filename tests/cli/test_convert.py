"""Convert: an export gives what its run gives, to Python and to the verbs; mistakes in one line."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import published_layouts as published
import pytest
import torch_format

import resgen_jax
from resgen_jax.core import errors
from resgen_jax.data import codes
from resgen_jax.runs import open_run


def quiet(text):
    del text


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    """Both runs, exported."""
    folder = tmp_path_factory.mktemp("exported")
    for name in ("tokenizer", "generator"):
        arguments = (f"--workdir={runs.folder / name}", f"--output={folder / name}")
        out = runs.succeed("convert", *arguments, "--to=safetensors")
        assert f"from_pretrained('{folder / name}')" in out
    return folder


def test_the_exported_tokenizer_is_the_runs(runs, exported):
    run = open_run.open_tokenizer(runs.tokenizer, quiet)
    tokenizer = resgen_jax.from_pretrained(exported / "tokenizer")
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    pixels = jnp.asarray(images, jnp.float32) / 127.5 - 1
    model = run.model
    expected = jax.jit(model.encode)(run.params, run.statistics, pixels)
    np.testing.assert_array_equal(tokenizer.encode(images), expected)
    np.testing.assert_array_equal(tokenizer.encode(pixels), expected)
    decoded = jax.jit(model.decode)(run.params, run.statistics, expected)
    np.testing.assert_allclose(tokenizer.decode(expected), np.clip(decoded, -1, 1), atol=1e-5)
    np.testing.assert_allclose(tokenizer.codebooks, model.codebooks(run.statistics), atol=1e-6)
    with pytest.raises(errors.UserError, match=r"expected \(b, 8, 8, 1\)"):
        tokenizer.encode(images[:, :4])
    assert repr(tokenizer) == (
        "<Tokenizer rq_vae: images 8x8x1, grid 4x4, depth 3, codebook_size 8, code_dim 4, step 0>"
    )


def test_an_exported_generator_draws_images_with_its_own_tokenizer(exported):
    generator = resgen_jax.from_pretrained(exported / "generator")
    assert repr(generator) == (
        "<Generator resgen: grid 4x4, depth 3, codebook_size 8, "
        "10 classes (0, 1, 2, 3, 4, ...), step 0>"
    )
    tokenizer = resgen_jax.from_pretrained(exported / "tokenizer")
    codes_of_three = generator.sample(["3", 7, 0], jax.random.key(5))
    images = generator.sample_images([3, "7", np.int64(0)], seed=5)
    np.testing.assert_array_equal(images, tokenizer.decode(codes_of_three))
    one = generator.sample_images("3", seed=5, tokenizer=tokenizer)
    np.testing.assert_allclose(one, images[:1], atol=1e-5)
    tokenizer.codebooks = tokenizer.codebooks[:, ::-1]
    with pytest.raises(errors.UserError, match="hold other vectors"):
        generator.sample_images(0, tokenizer=tokenizer)
    tokenizer.codebooks = tokenizer.codebooks[:2]
    with pytest.raises(errors.UserError, match=r"of shape \(2, 8, 4\)"):
        generator.sample_images(0, tokenizer=tokenizer)


def test_a_tokenizer_that_is_not_there_is_asked_for(exported, tmp_path):
    shutil.copytree(exported / "generator", tmp_path / "alone")
    shutil.rmtree(tmp_path / "alone" / "tokenizer")
    generator = resgen_jax.from_pretrained(tmp_path / "alone")
    with pytest.raises(errors.UserError, match="holds no tokenizer .* --workdir=.*/tokenizer"):
        generator.sample_images(0)
    path = tmp_path / "alone" / "codes.json"
    fields = json.loads(path.read_text()) | {"tokenizer": str(exported / "tokenizer")}
    path.write_text(json.dumps(fields))
    assert generator.sample_images(0).shape == (1, 8, 8, 1)


def test_a_generator_whose_tokenizer_is_lost_is_exported_alone(runs, tmp_path):
    shutil.copytree(runs.generator, tmp_path / "run")
    path = tmp_path / "run" / "codes.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer": "/nowhere"}))
    arguments = (f"--workdir={tmp_path / 'run'}", f"--output={tmp_path / 'out'}")
    code, _, err = runs.resgen("convert", *arguments, "--to=safetensors")
    assert code == 0
    assert "left out its tokenizer" in err
    assert not (tmp_path / "out" / "tokenizer").exists()


@pytest.mark.slow
def test_the_exported_generator_samples_as_its_run(runs, exported, tmp_path):
    generator = resgen_jax.from_pretrained(exported / "generator")
    runs.succeed(
        "sample",
        f"--workdir={exported / 'generator'}",
        f"--tokenizer={exported / 'tokenizer'}",
        f"--output={tmp_path / 'export'}",
        "--num_samples=6",
        "--seed=3",
    )
    runs.succeed(
        "sample",
        f"--workdir={runs.generator}",
        f"--output={tmp_path / 'run'}",
        "--num_samples=6",
        "--seed=3",
    )
    with np.load(tmp_path / "run" / "samples.npz") as run:
        with np.load(tmp_path / "export" / "samples.npz") as export:
            np.testing.assert_array_equal(export["images"], run["images"])
        found = generator.sample(run["labels"], jax.random.key(3))
        np.testing.assert_array_equal(found, run["codes"])
    assert generator.class_names == tuple("0123456789")
    with pytest.raises(errors.UserError, match="did you mean 'guidance_scale'"):
        generator.sample([0], jax.random.key(0), guidance_scal=2.0)
    with pytest.raises(errors.UserError, match="labels run from 10 to 10; expected 0 to 9"):
        generator.sample([10], jax.random.key(0))


def test_verbs_take_an_exported_tokenizer(runs, exported, tmp_path):
    runs.succeed("encode", f"--workdir={exported / 'tokenizer'}", f"--output={tmp_path / 'codes'}")
    found, expected = codes.read(tmp_path / "codes"), codes.read(runs.codes)
    for index in (0, 700):
        np.testing.assert_array_equal(found.train[index]["codes"], expected.train[index]["codes"])


def test_published_weights_are_converted_and_their_licence_is_told(place):
    arrays = published.random_arrays(published.autoencoder(128, (1,), 1, (), 6, 5))
    arrays |= published.random_arrays(published.rq_codebooks(1, 7, 5))
    counts = np.ones(7, np.float32)
    arrays["quantizer.codebooks.0.cluster_size_ema"] = counts
    torch_format.save(place.folder / "model.pt", {"state_dict": arrays})
    arguments = (f"--input={place.folder / 'model.pt'}", f"--output={place.folder / 'out'}")
    out = place.succeed("convert", "--from=rq_vae", *arguments, "--image_size=8")
    assert "CC-BY-NC-SA-4.0: no commercial use" in out
    tokenizer = resgen_jax.from_pretrained(place.folder / "out")
    assert tokenizer.description["licence"].startswith("CC-BY-NC-SA-4.0")
    assert tokenizer.description["file"] == "model.pt"
    again = (f"--workdir={place.folder / 'out'}", f"--output={place.folder / 'again'}")
    assert "no commercial use" in place.succeed("convert", *again, "--to=safetensors")
    run = open_run.open_tokenizer(place.folder / "again", quiet)
    assert run.model.image_size == 8
    code, _, err = place.resgen("convert", "--from=taming", *arguments)
    assert code == 2
    assert "has no array quantize.embedding.weight" in err


def test_the_list_names_places_and_licences(place):
    out = place.succeed("convert", "--list")
    for text in ("rq_transformer", "huggingface.co/FoundationVision/var", "CC-BY-NC-SA", "lpips_"):
        assert text in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say what to convert"),
        (("--from=rq_va", "--output=x"), "did you mean 'rq_vae'?"),
        (("--from=rq_vae", "--output=x"), "--input is missing"),
        (("--from=rq_vae", "--input=x"), "--output is missing"),
        (("--from=taming", "--input=x", "--output=y", "--scales=1,2"), "--scales has no part in"),
        (("--from=rq_vae", "--input=/nowhere.pt", "--output=x"), "cannot read /nowhere.pt"),
        (("--workdir=x", "--from=var", "--output=y"), "say what to convert"),
        (("--workdir=x", "--output=y", "--num_heads=2"), "--num_heads has no part in --workdir"),
        (("--workdir=x", "--output=y"), "--to is None; expected safetensors"),
        (("--workdir=/nowhere", "--output=y", "--to=safetensors"), "is not a run directory"),
        (("--from=lpips_vgg", "--input=/nowhere", "--output=x"), "are not in /nowhere"),
    ],
)
def test_mistakes_are_told_in_one_line(place, arguments, message):
    code, _, err = place.resgen("convert", *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
