"""Confidences without the frequency of their codes, and that frequency itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.generators import calibration, proposals


@pytest.fixture(scope="module")
def nothing(tiny):
    return calibration.Nothing(
        tiny.network, tiny.params, tiny.codebooks, tiny.space, proposals.from_codes
    )


def test_frequencies_by_hand():
    codes = jnp.array([[[0, 2], [0, 1]], [[0, 1], [1, 1]]])
    found = np.exp(calibration.log_frequency(codes, 3))
    np.testing.assert_allclose(found, [[4 / 7, 2 / 7, 1 / 7], [1 / 7, 4 / 7, 2 / 7]], rtol=1e-5)


def test_frequencies_are_those_the_model_gives_where_nothing_is_told(tiny, nothing):
    """Against the probabilities of the code head, averaged over the positions."""
    found = np.exp(calibration.log_frequency(calibration.draw(nothing), 7))
    is_masked = jnp.ones((1, 6, 3), bool)
    nobody = jnp.array([tiny.space.num_classes])
    states = tiny.network.apply(
        tiny.params, jnp.zeros((1, 6, 4)), is_masked, nobody, method="hidden"
    )
    logits = tiny.network.apply(tiny.params, states, method="code_logits")
    expected = np.asarray(jax.nn.softmax(logits)).mean(axis=(0, 1))
    drawn = calibration.NUM_DRAWS * 6
    np.testing.assert_allclose(found, (expected * drawn + 1) / (drawn + 7), atol=0.1)


def test_the_log_frequency_of_each_code_is_taken_from_its_confidence(nothing):
    def measure(outputs, draw):
        return jnp.full(draw.codes.shape, 5.0)

    codes = jnp.asarray(np.random.default_rng(0).integers(0, 7, (2, 6, 3)))
    outputs = proposals.Outputs(
        nothing.network, nothing.params, jnp.zeros((2, 6, 8)), nothing.codebooks
    )
    found = calibration.by_prior(measure, nothing)(outputs, proposals.Draw(codes))
    log_prior = np.asarray(calibration.log_frequency(calibration.draw(nothing), 7))
    for row, position, level in np.ndindex(codes.shape):
        expected = 5.0 - log_prior[level, codes[row, position, level]]
        np.testing.assert_allclose(found[row, position, level], expected, rtol=1e-5)
    assert calibration.none(measure, nothing) is measure
