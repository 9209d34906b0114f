"""Metrics under the names of their networks, equal to those computed by hand."""

import jax
import numpy as np
import pytest
import tiny_features

from resgen_jax.core import errors
from resgen_jax.evaluation import distances, features, protocol, reference, samples
from resgen_jax.metrics import frechet, inception_score, mind, precision_recall
from resgen_jax.runtime import mesh as meshes


@pytest.fixture(scope="module")
def mesh():
    return meshes.make(meshes.Spec(), jax.devices()[:1])


@pytest.fixture(scope="module")
def sets(mesh):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 8, 8, 3), dtype=np.uint8)
    extractor = tiny_features.extractor(mesh)
    return [
        features.collect(extractor, samples.of_array(part, "pixels"), batch_size=45)
        for part in (pixels[:45], pixels[45:] // 2)
    ]


@pytest.fixture(scope="module")
def compared(sets):
    return reference.of(sets[0], {})


def test_names_say_the_network(mesh, sets, compared):
    inception = tiny_features.extractor(mesh, name="inception", distance_name="FID")
    other = tiny_features.extractor(mesh, name="mobilenet", distance_name="FD-mobilenet")
    assert list(distances.measure(inception, sets[1], compared)) == [
        "FID",
        "MIND",
        "sFID",
        "IS",
        "precision",
        "recall",
    ]
    assert list(distances.measure(other, sets[1], compared, prefix="r")) == [
        "rFD-mobilenet",
        "rMIND-mobilenet",
        "rIS-mobilenet",
        "precision-mobilenet",
        "recall-mobilenet",
    ]


def test_values_are_those_of_the_metrics(mesh, sets, compared):
    found = distances.measure(tiny_features.extractor(mesh), sets[1], compared)
    assert found["FD-tiny"] == pytest.approx(frechet.distance(sets[0].moments, sets[1].moments))
    assert found["MIND-tiny"] == mind.mind(sets[0].features, sets[1].features)
    assert found["IS-tiny"] == inception_score.by_file_order(sets[1].logits)
    expected = precision_recall.precision_recall(sets[0].features, sets[1].features)
    assert (found["precision-tiny"], found["recall-tiny"]) == expected


def test_a_report_of_no_distance_is_refused(mesh, sets, compared):
    """Real distances pass, those of a set with itself do not, whatever the rounding."""
    extractor = tiny_features.extractor(mesh)
    distances.check_apart("FD-tiny", distances.measure(extractor, sets[1], compared), compared)
    itself = distances.measure(extractor, sets[0], compared)
    assert itself["MIND-tiny"] == 0
    with pytest.raises(errors.UserError, match="FD-tiny is .*: the samples are the reference"):
        distances.check_apart("FD-tiny", itself, compared)
    with pytest.raises(errors.UserError, match="MIND-tiny is 0: the samples are the reference"):
        distances.check_apart("FD-tiny", itself | {"FD-tiny": 1.0}, compared)


def test_adms_precision_and_recall_stand_beside_those_of_float32(mesh, sets, compared):
    found = distances.measure(
        tiny_features.extractor(mesh), sets[1], compared, manifolds=distances.WITH_ADM
    )
    plain = distances.measure(tiny_features.extractor(mesh), sets[1], compared)
    assert found.items() >= plain.items()
    expected = precision_recall.adm_precision_recall(sets[0].features, sets[1].features)
    assert (found["precision_adm-tiny"], found["recall_adm-tiny"]) == expected
    words = protocol.words(found)
    assert "float16" in words["precision_adm-tiny"]
    assert "float32" in words["precision-tiny"]


def test_a_set_is_at_no_distance_from_itself(mesh, sets, compared):
    found = distances.measure(tiny_features.extractor(mesh), sets[0], compared)
    assert found["FD-tiny"] < 1e-3
    assert found["precision-tiny"] == found["recall-tiny"] == 1


def test_too_few_samples_are_told_and_measured(mesh, sets, compared):
    told = []
    few = sets[1]._replace(moments=sets[1].moments._replace(num_rows=6))
    found = distances.measure(tiny_features.extractor(mesh), few, compared, note=told.append)
    assert np.isfinite(found["FD-tiny"])
    assert "6 images are too few for a covariance of 6 features" in told[0]
    distances.measure(tiny_features.extractor(mesh), sets[1], compared, note=told.append)
    assert len(told) == 1
    short = reference.of(sets[0], {"num_images": 5})
    distances.measure(tiny_features.extractor(mesh), sets[1], short, note=told.append)
    assert "5 images are too few for a covariance of 6 features" in told[1]
