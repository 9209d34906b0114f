"""Reference statistics: what is written is read, and those of anything else are refused."""

import json

import jax
import numpy as np
import pytest
import tiny_features
from PIL import Image

from resgen_jax.core import errors
from resgen_jax.evaluation import archive, features, reference, samples
from resgen_jax.runtime import mesh as meshes


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def source(pixels):
    return samples.of_array(pixels, "pixels")


@pytest.fixture(scope="module")
def mesh():
    return meshes.make(meshes.Spec(), jax.devices()[:1])


@pytest.fixture(scope="module")
def extractor(mesh):
    return tiny_features.extractor(mesh)


@pytest.fixture(scope="module")
def collected(extractor, source):
    return features.collect(extractor, source, batch_size=40)


@pytest.fixture
def written(tmp_path, extractor, collected, source):
    facts = reference.facts_of(extractor, source.image_shape, num_images=40)
    reference.write(tmp_path / "reference.npz", reference.of(collected, facts), source)
    return tmp_path / "reference.npz"


def test_what_is_written_is_read(written, extractor, collected, pixels):
    found = reference.read(written, extractor)
    exact = collected.features.astype(np.float64)
    np.testing.assert_allclose(found.pooled.mean, exact.mean(axis=0))
    np.testing.assert_allclose(found.pooled.cov, np.cov(exact.T))
    np.testing.assert_array_equal(found.features, collected.features)
    assert found.spatial.mean.shape == (4,)
    assert found.facts["network"] == "tiny"
    assert found.facts["weights_sha256"] == extractor.sha256
    assert (found.facts["image_size"], found.facts["num_images"]) == ([8, 8], 40)
    with np.load(written) as arrays:  # as the ADM evaluator reads it
        assert {"mu", "sigma", "mu_s", "sigma_s", "arr_0"} <= set(arrays)
        np.testing.assert_array_equal(arrays["arr_0"], pixels)
    assert len(reference.images_in(written)) == 40


def test_statistics_of_the_adm_evaluator_are_of_inception_alone(tmp_path, mesh):
    path = tmp_path / "adm.npz"
    np.savez(path, mu=np.zeros(6), sigma=np.eye(6), mu_s=np.ones(4), sigma_s=np.eye(4))
    inception = tiny_features.extractor(mesh, name="inception", distance_name="FID")
    found = reference.read(path, inception)
    assert found.features is None
    np.testing.assert_array_equal(found.spatial.mean, np.ones(4))
    with pytest.raises(errors.UserError, match=r"of 6 features of the Inception.*6 of tiny"):
        reference.read(path, tiny_features.extractor(mesh))


@pytest.mark.parametrize(
    ("seed", "settings", "message"),
    [
        (0, {"name": "other"}, "6 features of tiny, but the features here are 6 of other"),
        (0, {"num_features": 7}, "6 features of tiny, but the features here are 7 of tiny"),
        (1, {}, "of tiny with weights of sha256 .*but the weights here have"),
    ],
)
def test_statistics_of_another_network_are_refused(written, mesh, seed, settings, message):
    with pytest.raises(errors.UserError, match=message):
        reference.read(written, tiny_features.extractor(mesh, seed, **settings))


def test_files_without_statistics_are_told(tmp_path, extractor):
    np.savez(tmp_path / "x.npz", mu=np.zeros(6))
    with pytest.raises(errors.UserError, match="holds no sigma"):
        reference.read(tmp_path / "x.npz", extractor)
    np.savez(tmp_path / "y.npz", mu=np.zeros(6), sigma=np.eye(5))
    with pytest.raises(errors.UserError, match=r"and sigma \(5, 5\)"):
        reference.read(tmp_path / "y.npz", extractor)
    for number, meta in enumerate(("{", "[1]", 3)):
        path = tmp_path / f"meta_{number}.npz"
        np.savez(path, mu=np.zeros(6), sigma=np.eye(6), meta=meta)
        with pytest.raises(errors.UserError, match="meta of .* is not what"):
            reference.read(path, extractor)


def test_checksum_of_a_folder_is_of_its_files_wherever_it_lies(tmp_path, pixels):
    for name, rows in (("one", pixels[:2]), ("same", pixels[:2]), ("other", pixels[1:3])):
        (tmp_path / name / "class").mkdir(parents=True)
        for number, row in enumerate(rows):
            Image.fromarray(row).save(tmp_path / name / "class" / f"{number}.png")
    one, same, other = (
        reference.folder_sha256(tmp_path / name) for name in ("one", "same", "other")
    )
    assert one == same != other
    (tmp_path / "same" / "class" / "0.png").rename(tmp_path / "same" / "class" / "7.png")
    assert reference.folder_sha256(tmp_path / "same") != one


def test_statistics_are_computed_once(tmp_path, extractor, collected):
    path, calls = tmp_path / "cache.npz", []

    def build():
        calls.append(1)
        return collected

    facts = reference.facts_of(extractor, (8, 8, 3), num_images=40)
    first = reference.cached(path, extractor, facts, build)
    again = reference.cached(path, extractor, facts, build)
    assert len(calls) == 1
    np.testing.assert_array_equal(first.pooled.cov, again.pooled.cov)
    reference.cached(path, extractor, facts | {"num_images": 39}, build)
    assert len(calls) == 2
    assert json.loads(str(archive.read(path, "meta")))["num_images"] == 39
