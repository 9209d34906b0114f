"""Laws of the scale that the generator's codebooks are brought to."""

import jax
import jax.numpy as jnp
import numpy as np
import tiny_tasks

from resgen_jax.quantizers import rvq, unit


def test_a_sum_of_random_codes_has_unit_variance():
    scaled = unit.unit_codebooks(tiny_tasks.codebooks())
    random = np.random.default_rng(0)
    codes = random.integers(0, 8, (20_000, 3))
    sums = sum(scaled[level][codes[:, level]] for level in range(3))
    np.testing.assert_allclose(np.mean(sums**2), 1, rtol=0.02)
    ratio = scaled / tiny_tasks.codebooks()
    np.testing.assert_allclose(ratio, ratio.flat[0], rtol=1e-5)


def test_what_fills_a_codebook_up_does_not_count_and_stays_far_away():
    books, sizes = tiny_tasks.codebooks(), (8, 3, 5)
    tables = [jnp.asarray(books[level, :size]) for level, size in enumerate(sizes)]
    with np.errstate(over="raise"):
        scaled = unit.unit_codebooks(np.asarray(rvq.stack(tables)))
    energy = sum(np.mean(np.square(table, dtype=np.float64)) for table in tables)
    for level, size in enumerate(sizes):
        np.testing.assert_allclose(scaled[level, :size], tables[level] / energy**0.5, rtol=1e-5)
        np.testing.assert_array_equal(scaled[level, size:], np.float32(rvq.FAR))
    latents = jax.random.normal(jax.random.key(0), (50, scaled.shape[-1]))
    codes, _ = rvq.encode(latents, jnp.asarray(scaled))
    assert (np.asarray(codes).max(axis=0) < sizes).all()
