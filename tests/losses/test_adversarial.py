"""Laws of the adversarial losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.losses import adversarial

SCORES = jnp.array([-3.0, -0.5, 0.0, 0.5, 3.0])


def test_hinge_by_hand():
    hinge = adversarial.KINDS["hinge"]
    np.testing.assert_allclose(hinge.real(SCORES), [2, 0.75, 0.5, 0.25, 0])
    np.testing.assert_allclose(hinge.made(SCORES), [0, 0.25, 0.5, 0.75, 2])
    np.testing.assert_allclose(hinge.maker(SCORES), [3, 0.5, 0, -0.5, -3])


def test_non_saturating_is_the_cross_entropy_of_a_sigmoid():
    kind = adversarial.KINDS["non_saturating"]
    probability = 1 / (1 + np.exp(-np.float64(SCORES)))
    np.testing.assert_allclose(kind.real(SCORES), -0.5 * np.log(probability), rtol=1e-5)
    np.testing.assert_allclose(kind.made(SCORES), -0.5 * np.log(1 - probability), rtol=1e-5)
    np.testing.assert_allclose(kind.maker(SCORES), -np.log(probability), rtol=1e-5)


@pytest.mark.parametrize("kind", adversarial.KINDS.values(), ids=adversarial.KINDS)
def test_the_sides_pull_scores_apart(kind):
    near = jnp.float32(0.1)
    assert jax.grad(kind.real)(near) < 0  # real scores rise
    assert jax.grad(kind.made)(near) > 0  # those of made images fall
    assert jax.grad(kind.maker)(near) < 0  # which the maker works against


def test_r1_is_the_squared_gradient_of_each_image():
    random = np.random.default_rng(0)
    weight = jnp.asarray(random.normal(size=(2, 3, 1, 4)), jnp.float32)
    images = jnp.asarray(random.normal(size=(5, 2, 3, 1)), jnp.float32)

    def score(images):
        return jnp.einsum("bhwc,hwcs->bs", images**2, weight)

    expected = (2 * images * weight.sum(-1)[None]) ** 2
    np.testing.assert_allclose(
        adversarial.r1(score, images), expected.sum(axis=(1, 2, 3)), rtol=1e-5
    )


def test_lecam_by_hand():
    real, made = jnp.array([1.0, -1.0]), jnp.array([0.5, 2.0])
    found = adversarial.lecam(real, made, jnp.float32(0.8), jnp.float32(-0.5))
    # real above the made average: 1.5 and 0; made below the real one: 0.3 and 0.
    np.testing.assert_allclose(found, 1.5**2 / 2 + 0.3**2 / 2, rtol=1e-6)


def test_the_adaptive_weight_makes_the_norms_equal_and_is_bounded():
    weight = adversarial.adaptive_weight(jnp.float32(3.0), jnp.float32(0.5))
    np.testing.assert_allclose(weight * 0.5, 3.0, rtol=1e-3)
    assert adversarial.adaptive_weight(jnp.float32(1e9), jnp.float32(0.0)) == 1e4
