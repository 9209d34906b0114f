"""The judge learns real digits, measures them in unit variance and refuses what it cannot judge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.evaluation import judge


def test_it_reads_digits_it_has_not_seen(trained, digits):
    images, labels = digits
    accuracy = np.mean(trained[0].predict(images[1400:]) == labels[1400:])
    assert accuracy > 0.85  # the whole training reaches 0.99


def test_progress_reaches_the_end_and_the_loss_falls(trained):
    _, told = trained
    assert [step for step, _, _ in told] == list(range(6, 121, 6))
    assert {num_steps for _, num_steps, _ in told} == {120}
    assert told[-1][2] < 0.3 * told[0][2]


def test_features_of_the_training_images_have_unit_variance(trained, digits):
    features = trained[0].features(digits[0][:1400])
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(features.std(axis=0), 1, atol=1e-3)


def test_an_image_is_judged_alike_in_any_batch(trained, digits):
    images = digits[0][:700]
    whole, logits = trained[0].outputs(images)
    alone, alone_logits = trained[0].outputs(images[650:653])
    np.testing.assert_allclose(alone, whole[650:653], atol=1e-4)
    np.testing.assert_array_equal(alone_logits.argmax(-1), logits[650:653].argmax(-1))


def test_same_key_same_judge(trained, train_judge):
    again = train_judge(lambda *report: None)
    jax.tree.map(np.testing.assert_array_equal, again.params, trained[0].params)


def test_images_of_another_shape_are_refused(trained):
    with pytest.raises(errors.UserError, match=r"shape \(8, 8, 1\), these are \(9, 8, 1\)"):
        trained[0].features(np.zeros((2, 9, 8, 1), np.uint8))


@pytest.mark.parametrize(
    ("labels", "num_classes", "message"),
    [
        ([0, 0], 1, "1 class"),
        ([0, 2], 2, "0 to 2; expected 0 to 1"),
        ([], 2, "no training image"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(labels, num_classes, message):
    labels = np.array(labels, np.int32)
    with pytest.raises(errors.UserError, match=message):
        judge.train(
            jax.random.key(0), np.zeros((len(labels), 8, 8, 1), np.uint8), labels, num_classes
        )


def test_shifts_move_whole_images_and_keep_their_pixels(key):
    image = np.zeros((1, 9, 9, 1), np.uint8)
    image[0, 4, 4] = 200
    images = jnp.asarray(np.repeat(image, 64, axis=0))
    moved = np.asarray(judge.shifted(key, images, 1 / 9))
    places = np.argwhere(moved[..., 0] == 200)
    assert len(places) == 64
    assert set(map(tuple, places[:, 1:])) == {(i, j) for i in (3, 4, 5) for j in (3, 4, 5)}
    np.testing.assert_array_equal(judge.shifted(key, images, 0.0), images)
