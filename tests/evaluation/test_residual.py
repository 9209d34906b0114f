"""The network of the judge of photographs: its normalisations, its cost, its specs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.evaluation import residual

SPEC = residual.Spec(widths=(4, 6), num_blocks=(1, 2))


@pytest.fixture
def params(key):
    return residual.init(residual.shapes(SPEC, (8, 8, 3), 5), key)


def images(key, count=16):
    return jax.random.normal(key, (count, 8, 8, 3))


def test_statistics_of_a_batch_give_what_normalising_by_it_gives(params, key):
    batch = images(key)
    statistics = residual.measure(params, batch)
    assert set(statistics) == {"stem", "stages.0.0", "stages.1.widen", "stages.1.0", "stages.1.1"}
    by_batch, _ = residual.apply(params, batch, residual.by_batch)
    found, _ = residual.apply(params, batch, residual.by_statistics(statistics))
    np.testing.assert_allclose(found, by_batch, atol=1e-5)
    # And alone as among others, which a batch of one would not be.
    alone, _ = residual.apply(params, batch[3:4], residual.by_statistics(statistics))
    np.testing.assert_allclose(alone, found[3:4], atol=1e-5)


def test_a_layer_has_zero_mean_and_unit_variance_in_its_own_batch(key):
    values = 5 + 3 * images(key)
    found = np.asarray(residual.by_batch("any", values), np.float64)
    np.testing.assert_allclose(found.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=(0, 1, 2)), 1, atol=1e-3)


def test_nothing_is_known_of_the_classes_at_first(params, key):
    _, logits = residual.apply(params, images(key), residual.by_batch)
    assert float(jnp.abs(logits).max()) == 0


@pytest.mark.parametrize("shape", [(8, 8, 1), (30, 30, 3), (64, 48, 3), (9, 14, 1)])
def test_maps_of_any_image_are_no_larger_than_16(key, shape):
    params = jax.eval_shape(lambda: residual.init(residual.shapes(SPEC, shape, 7), key))
    seen = []

    def normalise(name, values):
        seen.append(values.shape[1:3])
        return values

    batch = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    features, logits = jax.eval_shape(lambda *both: residual.apply(*both, normalise), params, batch)
    assert features.shape == (2, 6)
    assert logits.shape == (2, 7)
    assert max(max(sides) for sides in seen) <= 16
    assert seen[-1] == tuple(side // 2 for side in seen[0])


@pytest.mark.parametrize(
    ("widths", "num_blocks", "message"),
    [
        ((), (), "at least one stage"),
        ((4, 6), (1,), "one number a stage in both"),
        ((4, 0), (1, 1), "1 or more channels"),
        ((4, 6), (1, 0), "1 or more convolutions"),
    ],
)
def test_senseless_sizes_are_refused(widths, num_blocks, message):
    with pytest.raises(errors.UserError, match=message):
        residual.Spec(widths, num_blocks)
