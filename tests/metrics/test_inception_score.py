"""Inception score against its bounds, the two evaluators' own formulas, and the order of rows."""

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.metrics import inception_score


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(scale=3, size=(103, 7)).astype(np.float32)


def test_certain_and_varied_scores_the_number_of_classes_and_the_rest_one():
    certain = 100 * np.tile(np.eye(5), (4, 1))
    assert inception_score.of_rows(certain) == pytest.approx(5)
    assert inception_score.of_rows(np.zeros((8, 5))) == pytest.approx(1)
    assert inception_score.of_rows(certain[:1]) == pytest.approx(1)


def test_file_order_equals_the_formula_of_adm(logits):
    preds, scores = softmax(logits.astype(np.float64)), []
    for start in range(0, len(preds), 40):
        part = preds[start : start + 40]
        divergence = part * (np.log(part) - np.log(part.mean(axis=0)[None]))
        scores.append(np.exp(np.mean(np.sum(divergence, axis=1))))
    assert len(scores) == 3
    found = inception_score.by_file_order(logits, split_size=40)
    assert found == pytest.approx(np.mean(scores), rel=1e-12)


def test_shuffled_equals_the_formula_of_torch_fidelity(logits):
    order = np.random.RandomState(2020).permutation(103)
    preds, scores = softmax(logits.astype(np.float64))[order], []
    for part in range(10):
        rows = preds[part * 103 // 10 : (part + 1) * 103 // 10]
        divergence = rows * (np.log(rows) - np.log(rows.mean(axis=0)[None]))
        scores.append(np.exp(divergence.sum(axis=1).mean()))
    mean, deviation = inception_score.shuffled(logits)
    assert mean == pytest.approx(np.mean(scores), rel=1e-12)
    assert deviation == pytest.approx(np.std(scores), rel=1e-9)


def test_rows_sorted_by_class_score_lower_in_file_order():
    certain = 100 * np.repeat(np.eye(4), 5, axis=0)
    assert inception_score.by_file_order(certain, split_size=5) == pytest.approx(1)
    assert inception_score.by_file_order(certain, split_size=20) == pytest.approx(4)


def test_mistakes_are_named(logits):
    with pytest.raises(errors.UserError, match="3 rows of logits for 10 splits"):
        inception_score.shuffled(logits[:3])
    with pytest.raises(errors.UserError, match="NaN"):
        inception_score.of_rows(np.full((2, 2), np.nan))
    with pytest.raises(errors.UserError, match=r"shape \(0, 7\)"):
        inception_score.by_file_order(logits[:0])
