"""Figures of a tokenizer equal those computed image by image."""

import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.evaluation import reconstruction

DEPTH, SIZE, BATCH = 3, 5, 4


def table_tokenizer(variables, images):
    """Halves the error at each level; codes count how often they were asked."""
    levels = variables["gain"] * 0.5 ** jnp.arange(1.0, DEPTH + 1)
    reconstructions = images[None] + levels[:, None, None, None, None]
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
            10 * np.log10(4 / np.mean((np.clip(rebuilt[level, i], -1, 1) - images[i]) ** 2))
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


def test_no_image_is_refused():
    with pytest.raises(errors.UserError, match="no held-out image"):
        reconstruction.evaluate(table_tokenizer, {"gain": 0.1}, [], depth=DEPTH, codebook_size=SIZE)
