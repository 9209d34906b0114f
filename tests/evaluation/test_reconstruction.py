"""Figures of a tokenizer equal those computed image by image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.evaluation import reconstruction
from resgen_jax.runtime import mesh as meshes

DEPTH, SIZE, BATCH = 3, 5, 4


def table_tokenizer(variables, images):
    """Halves the error at each level; codes count how often they were asked."""
    levels = variables["gain"] * 0.5 ** jnp.arange(1.0, DEPTH + 1)
    reconstructions = images[:, None] + levels[None, :, None, None, None]
    brightness = jnp.mean(images, axis=(1, 2, 3))
    code = jnp.clip(jnp.floor((brightness + 1) * 2.5), 0, SIZE - 1).astype(jnp.int32)
    codes = jnp.broadcast_to(code[:, None, None], (images.shape[0], 2, DEPTH))
    return codes * jnp.array([1, 1, 0])[None, None, :], reconstructions


def batches(images):
    """Batches of four, the last padded with an image that would change every figure."""
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        padding = np.full((BATCH - len(part), *part.shape[1:]), 0.99, np.float32)
        yield {
            "images": np.concatenate([part, padding]),
            "is_valid": np.arange(BATCH) < len(part),
        }


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 0.2, (10, 8, 8, 1)).astype(np.float32)


def test_figures_equal_brute_force(images):
    variables = {"gain": jnp.float32(0.4)}
    found = reconstruction.evaluate(
        table_tokenizer, variables, batches(images), depth=DEPTH, codebook_size=SIZE
    )
    codes, rebuilt = map(np.asarray, table_tokenizer(variables, jnp.asarray(images)))
    for level in range(DEPTH):
        psnr = [
            10 * np.log10(4 / np.mean((np.clip(rebuilt[i, level], -1, 1) - images[i]) ** 2))
            for i in range(len(images))
        ]
        np.testing.assert_allclose(found["psnr_by_depth"][level], np.mean(psnr), rtol=1e-5)
        _, counts = np.unique(codes[..., level], return_counts=True)
        share = counts / counts.sum()
        perplexity = np.exp(-np.sum(share * np.log(share)))
        np.testing.assert_allclose(found["perplexity_by_level"][level], perplexity, rtol=1e-5)
        np.testing.assert_allclose(found["usage_by_level"][level], len(counts) / SIZE, rtol=1e-6)
    assert found["psnr"] == found["psnr_by_depth"][-1]
    assert found["num_images"] == 10


def test_half_the_error_is_six_decibels_more(images):
    found = reconstruction.evaluate(
        table_tokenizer, {"gain": 0.1}, batches(images), depth=DEPTH, codebook_size=SIZE
    )
    np.testing.assert_allclose(np.diff(found["psnr_by_depth"]), 20 * np.log10(2), atol=1e-3)


def test_bytes_are_read_as_minus_one_to_one():
    bytes_ = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 1), np.uint8)
    floats = bytes_.astype(np.float32) / 127.5 - 1
    is_valid = np.ones(4, bool)
    first, second = (
        reconstruction.evaluate(
            table_tokenizer,
            {"gain": 0.3},
            [{"images": images, "is_valid": is_valid}],
            depth=DEPTH,
            codebook_size=SIZE,
        )
        for images in (bytes_, floats)
    )
    np.testing.assert_allclose(first["psnr_by_depth"], second["psnr_by_depth"], rtol=1e-4)


def test_exact_copy_stays_finite(images):
    found = reconstruction.evaluate(
        table_tokenizer, {"gain": 0.0}, batches(images), depth=DEPTH, codebook_size=SIZE
    )
    assert found["psnr_by_depth"] == [reconstruction.MAX_PSNR] * DEPTH


def test_one_compilation_for_all_batches(images):
    traces = []

    def traced(variables, images):
        traces.append(images.shape)
        return table_tokenizer(variables, images)

    reconstruction.evaluate(traced, {"gain": 0.1}, batches(images), depth=DEPTH, codebook_size=SIZE)
    assert traces == [(BATCH, 8, 8, 1)]


def test_every_measure_is_averaged_over_the_images_of_each_depth(images):
    def brightest(params, made, originals):
        return params * jnp.max(jnp.abs(made - originals), axis=(1, 2, 3))

    seen = []
    found = reconstruction.evaluate(
        table_tokenizer,
        {"gain": 0.4},
        batches(images),
        depth=DEPTH,
        codebook_size=SIZE,
        measures={"error": reconstruction.Measure(brightest, jnp.float32(3))},
        see=lambda *shown: seen.append(shown),
    )
    np.testing.assert_allclose(found["error_by_depth"], [0.6, 0.3, 0.15], rtol=1e-4)
    assert found["error"] == found["error_by_depth"][-1]
    originals, made, is_valid = seen[-1]
    assert originals.dtype == made.dtype == jnp.uint8
    assert made.shape == (BATCH, DEPTH, 8, 8, 1)
    expected = np.round((images[8:] + 1) * 127.5)
    np.testing.assert_array_equal(originals[is_valid], expected)


def test_eight_devices_find_what_one_does(images):
    mesh = meshes.make(meshes.Spec(data=2, fsdp=4), jax.devices()[:8])
    padded = np.concatenate([images, np.full((6, 8, 8, 1), 0.5, np.float32)])
    rows = {"images": padded, "is_valid": np.arange(16) < len(images)}
    evaluation = reconstruction.Evaluation(table_tokenizer, depth=DEPTH, codebook_size=SIZE)
    one, eight = (
        evaluation.run({"gain": jnp.float32(0.4)}, [batch])
        for batch in (rows, meshes.put_batch(mesh, rows))
    )
    np.testing.assert_allclose(one["psnr_by_depth"], eight["psnr_by_depth"], rtol=1e-6)
    assert one["usage_by_level"] == eight["usage_by_level"]
    assert one["num_images"] == eight["num_images"] == 10


def test_chosen_depths_are_decoded_from_their_own_sums():
    sums = jnp.arange(2 * 3 * 4 * 1.0).reshape(2, 3, 4, 1)
    rebuilt = reconstruction.decode_depths(lambda values: 10 * values[:, :, None], sums, (1, 4))
    assert rebuilt.shape == (2, 2, 3, 1, 1)
    np.testing.assert_array_equal(rebuilt[..., 0, 0], 10 * jnp.moveaxis(sums[..., (0, 3), 0], 1, 2))


def test_depths_are_those_of_the_codes():
    assert reconstruction.check_depths((), 3) == (1, 2, 3)
    assert reconstruction.check_depths((3, 1, 3), 3) == (1, 3)
    with pytest.raises(errors.UserError, match="names 4, but the codes have depths 1 to 3"):
        reconstruction.check_depths((1, 4), 3)


def test_a_reconstruction_that_is_not_finite_is_an_error(images):
    def broken(variables, images):
        codes, made = table_tokenizer(variables, images)
        return codes, jnp.where(jnp.arange(BATCH)[:, None, None, None, None] == 1, jnp.nan, made)

    with pytest.raises(errors.UserError, match="of 3 of 10 images hold NaN"):
        reconstruction.evaluate(
            broken, {"gain": 0.1}, batches(images), depth=DEPTH, codebook_size=SIZE
        )


def test_small_images_have_no_ssim():
    assert list(reconstruction.measures_for(8)) == ["psnr"]
    assert list(reconstruction.measures_for(11)) == ["psnr", "ssim"]


def test_no_image_is_refused():
    with pytest.raises(errors.UserError, match="no held-out image"):
        reconstruction.evaluate(table_tokenizer, {"gain": 0.1}, [], depth=DEPTH, codebook_size=SIZE)
