"""The judge of photographs: it learns, goes on where it was stopped, and is kept on the disk."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.evaluation import judge_features, judge_files, photo_judge, photo_spec, photo_views
from resgen_jax.evaluation.images import frechet_between, variance_ratio

SPEC = photo_spec.Spec(
    widths=(8, 16),
    num_blocks=(1, 1),
    num_epochs=5.0,
    batch_size=50,
    crop_ratio=1.0,  # and no shifts, so that one program does
    max_shift_ratio=0.0,
)


@pytest.fixture(scope="module")
def real(digits):
    images, labels = digits
    return images[:1400], labels[:1400]


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def trained(real, told):
    return photo_judge.train(
        jax.random.key(0), *real, 10, SPEC, report=lambda *report: told.append(report)
    )


def test_it_reads_digits_it_has_not_seen(trained, digits, told):
    images, labels = digits
    assert np.mean(trained.predict(images[1400:]) == labels[1400:]) > 0.8
    losses = [loss for _, _, loss in told]
    assert [num_steps for _, num_steps, _ in told] == [140] * 70
    assert losses[-1] < 0.5 * losses[0]


def test_training_that_was_stopped_ends_as_if_it_had_not(trained, real, told, tmp_path):
    facts = {"images": "abc"}
    state, _, _ = told[24]
    assert state.step == 50
    judge_files.save_state(tmp_path / "state.npz", state, facts)
    begun = photo_judge.start(jax.random.key(0), (8, 8, 1), 10, SPEC)
    found = judge_files.load_state(tmp_path / "state.npz", begun, facts)
    assert judge_files.load_state(tmp_path / "state.npz", begun, {"images": "other"}) is None
    assert judge_files.load_state(tmp_path / "none.npz", begun, facts) is None
    again = photo_judge.train(jax.random.key(0), *real, 10, SPEC, state=found)
    jax.tree.map(np.testing.assert_array_equal, again.params, trained.params)


def test_a_judge_is_kept_with_its_facts(trained, digits, tmp_path):
    path = tmp_path / judge_files.name("0123456789abcdef0123")
    assert path.name == "judge_0123456789abcdef.npz"
    judge_files.save(path, trained, {"accuracy": 0.9, "images": "x"})
    found, facts = judge_files.load(path)
    assert facts == {"accuracy": 0.9, "images": "x", "image_shape": [8, 8, 1]}
    pairs = zip(found.outputs(digits[0][:9]), trained.outputs(digits[0][:9]), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_another_file_is_no_judge(tmp_path, trained):
    np.savez(tmp_path / "other.npz", meta='{"image_shape": [8, 8, 1]}', mean=np.zeros(3))
    with pytest.raises(
        errors.UserError, match=r"other\.npz is no judge that this version can read"
    ):
        judge_files.load(tmp_path / "other.npz")
    np.savez(tmp_path / "text.npz", meta="text")
    with pytest.raises(errors.UserError, match=r"text\.npz is no file of a judge"):
        judge_files.load(tmp_path / "text.npz")


def test_as_a_network_it_gives_the_same_features_and_classes(trained, digits):
    network, params = judge_features.network(trained)
    images = digits[0][:20]
    colour = np.broadcast_to(images, (20, 8, 8, 3)).astype(np.float32)
    outputs = jax.jit(network.apply)(params, jnp.asarray(colour))
    features, logits = trained.outputs(images)
    np.testing.assert_allclose(outputs.features, features, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(outputs.logits, logits, rtol=1e-3, atol=1e-3)
    assert network.num_features == features.shape[1]
    assert network.distance_name == "FD-judge"


def test_a_guesser_a_constant_and_real_images_score_as_they_should(trained, digits):
    """Guesses agree by chance, one image a class has no variety, held-out images have the most."""
    images, labels = digits
    train, held_out = slice(0, 1400), slice(1400, 1797)
    features, _ = trained.outputs(images)
    real = features[train], labels[train]
    guesses = np.random.default_rng(0).integers(0, 10, 397)
    classes = trained.predict(images[held_out])
    assert np.mean(classes == labels[held_out]) > 0.8
    assert abs(np.mean(classes == guesses) - 0.1) < 0.06
    assert 0.7 < variance_ratio(features[held_out], labels[held_out], *real) < 1.3
    same = np.repeat([np.flatnonzero(labels == label)[0] for label in range(10)], 40)
    assert variance_ratio(features[same], labels[same], *real) == pytest.approx(0, abs=1e-6)
    constant = np.zeros(400, int)
    assert np.mean(trained.predict(images[constant]) == labels[same]) == pytest.approx(
        0.1, abs=0.02
    )
    distances = [
        frechet_between(rows, features[train])
        for rows in (features[held_out], features[same], features[constant])
    ]
    assert distances[0] < 0.2 * distances[1] < 0.2 * distances[2]


def test_windows_lie_in_the_image_and_every_other_one_is_mirrored(key):
    image = np.arange(36, dtype=np.uint8).reshape(1, 6, 6, 1)
    draw = jax.jit(photo_views.draw, static_argnums=(2, 3))
    drawn = np.asarray(draw(key, jnp.asarray(np.repeat(image, 200, axis=0)), (4, 4), 0))
    plain = {image[0, i : i + 4, j : j + 4].tobytes() for i in range(3) for j in range(3)}
    mirrored = {np.frombuffer(w, np.uint8).reshape(4, 4)[:, ::-1].tobytes() for w in plain}
    found = [one.tobytes() for one in drawn]
    assert set(found) == plain | mirrored
    assert 60 < sum(one in mirrored for one in found) < 140


def test_the_last_steps_show_whole_images():
    spec = dataclasses.replace(SPEC, crop_ratio=0.75, whole_from=0.8, max_shift_ratio=1 / 16)
    assert photo_views.window(spec, (32, 32), 0.79) == ((24, 24), 0)
    assert photo_views.window(spec, (32, 32), 0.8) == ((32, 32), 2)


def test_muon_moves_the_convolutions_and_adam_the_rest(key):
    state = photo_judge.start(key, (8, 8, 3), 5, SPEC)
    numbers = photo_judge._dimension_numbers(state.params)
    assert numbers["stem"]["kernel"] is not None
    assert numbers["stem"]["scale"] is numbers["logits"]["kernel"] is None
    # Its update of a matrix has singular values near 1, whatever the gradient.
    optimizer = photo_judge._optimizer(SPEC, 10)
    gradients = jax.tree.map(lambda leaf: jax.random.normal(key, leaf.shape), state.params)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        updates, _ = jax.jit(optimizer.update)(gradients, state.opt_state, state.params)
    update = np.asarray(updates["stages"]["1"]["0"]["kernel"]).reshape(-1, 16)
    values = np.linalg.svd(update / SPEC.learning_rate, compute_uv=False)
    assert 0.6 < values.min() < values.max() < 1.3


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_epochs", 0.0), ("crop_ratio", 0.0), ("crop_ratio", 1.5), ("label_smoothing", 1.0)],
)
def test_senseless_spec_is_refused(field, value):
    with pytest.raises(errors.UserError, match=rf"judge\.{field} is {value}"):
        photo_spec.Spec(**{field: value})
