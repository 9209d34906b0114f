"""Precision and recall against brute force in float64, for any block size and mesh."""

import jax
import numpy as np
import pytest
import scipy.spatial.distance

from resgen_jax.core import errors
from resgen_jax.metrics import precision_recall
from resgen_jax.runtime import mesh as meshes


@pytest.fixture(scope="module")
def sets():
    random = np.random.default_rng(0)
    reference = random.normal(size=(60, 5)).astype(np.float32) + 7
    samples = (0.8 * random.normal(size=(45, 5)) + 7.3).astype(np.float32)
    return reference, samples


def brute_force(reference, samples, k=3):
    def radii(rows):
        return np.sort(scipy.spatial.distance.cdist(rows, rows), axis=1)[:, k]

    across = scipy.spatial.distance.cdist(samples.astype(float), reference.astype(float))
    precision = (across <= radii(reference.astype(float))[None, :]).any(axis=1).mean()
    recall = (across <= radii(samples.astype(float))[:, None]).any(axis=0).mean()
    return precision, recall


def test_equals_brute_force_for_any_block_size(sets):
    expected = brute_force(*sets)
    assert 0.2 < expected[1] < expected[0] < 1  # the sets differ enough to tell them apart
    for block_size in (7, 1000):
        found = precision_recall.precision_recall(*sets, block_size=block_size)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_eight_devices_find_what_one_does(sets):
    mesh = meshes.make(meshes.Spec(data=2, fsdp=4), jax.devices()[:8])
    found = precision_recall.precision_recall(
        *sets, block_size=20, sharding=meshes.batch_sharding(mesh)
    )
    np.testing.assert_allclose(found, brute_force(*sets), rtol=1e-12)


def test_radii_are_the_third_neighbours(sets):
    points = np.array([[0.0], [1.0], [3.0], [7.0], [15.0]])
    found = precision_recall.manifold_radii(points, block_size=2)
    np.testing.assert_allclose(found, np.array([7, 6, 4, 7, 14.0]) ** 2)


def test_a_set_against_itself_is_all_inside(sets):
    found = precision_recall.precision_recall(sets[0], sets[0], block_size=1000)
    assert found == (1.0, 1.0)


def test_far_samples_are_neither_precise_nor_recalled(sets):
    reference, samples = sets
    found = precision_recall.precision_recall(reference, samples + 1000, block_size=1000)
    assert found == (0.0, 0.0)


def in_float16(rows, columns):
    """ADM's distances by NumPy's own float16, added up in float32."""
    rows, columns = rows.astype(np.float16), columns.astype(np.float16)
    products = (rows.astype(np.float32) @ columns.astype(np.float32).T).astype(np.float16)
    norms = [
        np.sum(values * values, axis=1, dtype=np.float32).astype(np.float16)
        for values in (rows, columns)
    ]
    squared = norms[0][:, None] - np.float16(2) * products + norms[1][None, :]
    return np.maximum(squared, np.float16(0)).astype(np.float32)


def adm(reference, samples):
    """The evaluator's loop: rows are the reference's, and the fourth of a row is its radius."""
    radii = [np.sort(in_float16(rows, rows), axis=1)[:, 3] for rows in (reference, samples)]
    across = in_float16(reference, samples)
    precision = (across <= radii[0][:, None]).any(axis=0).mean()
    return precision, (across <= radii[1][None, :]).any(axis=1).mean()


@pytest.fixture(scope="module")
def clusters():
    """Features 20 long that are some 0.5 apart, whose products and squares float32 holds."""
    random = np.random.default_rng(3)
    middles = np.round(random.normal(size=(8, 16)) * 5 * 64) / 64

    def draw(count, spread):
        offsets = np.round(random.normal(size=(count, 16)) * spread * 64) / 64
        return (middles[random.integers(0, 8, count)] + offsets).astype(np.float32)

    return draw(200, 0.1), draw(150, 0.1)


def test_adms_own_figures_are_those_of_float16(clusters):
    expected, exact = adm(*clusters), brute_force(*clusters)
    assert min(abs(one - other) for one, other in zip(expected, exact, strict=True)) > 0.1
    mesh = meshes.make(meshes.Spec(data=2, fsdp=4), jax.devices()[:8])
    for options in ({}, {"block_size": 40, "sharding": meshes.batch_sharding(mesh)}):
        found = precision_recall.adm_precision_recall(*clusters, **options)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    found = precision_recall.precision_recall(*clusters)
    np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_what_float16_cannot_hold_is_in_float32(clusters):
    reference, samples = (16 * rows for rows in clusters)  # squares of 100,000
    found = precision_recall.adm_precision_recall(reference, samples)
    np.testing.assert_allclose(found, brute_force(reference, samples), rtol=1e-12)


def test_mistakes_are_named(sets):
    reference, samples = sets
    with pytest.raises(errors.UserError, match="3 images have no 3 neighbours each"):
        precision_recall.precision_recall(reference, samples[:3], block_size=1000)
    with pytest.raises(errors.UserError, match="5 and 4 dimensions"):
        precision_recall.precision_recall(reference, samples[:, :4])
