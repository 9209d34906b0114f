"""What diffusion is trained on: noise by each path and schedule, its targets, labels, padding."""

import dataclasses

import gaussian_flows
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_diffusion as tiny

from resgen_jax.core import errors
from resgen_jax.training import diffusion_loss

MANY = 4000  # rows
PREDICTIONS = ["velocity", "noise", "data", "score"]
LENGTHS = jnp.array([4, 2, 3, 1, 4, 4, 2, 1], jnp.int32)


def draw(spec, batch, is_training=True, seed=0, space=tiny.SPACE):
    return jax.jit(
        lambda batch: diffusion_loss.draw(batch, jax.random.key(seed), spec, space, is_training)
    )(batch)


def check_standard(numbers):
    """Rows of independent standard normal numbers."""
    rows = numbers.reshape(len(numbers), -1)
    width = rows.shape[1]
    gaussian_flows.check_moments(rows, np.zeros(width), np.eye(width))


def path_spec(**changes):
    return dataclasses.replace(diffusion_loss.LossSpec(), **changes)


def unit(batch):
    """The latents at unit scale."""
    return (np.asarray(batch["latents"], np.float64) - 0.5) / 2


def parts(name, batch, drawn):
    """alpha, sigma and their rates of each row, and the noise that its states must hold."""
    times = np.asarray(drawn["times"], np.float64)[:, None, None]
    alpha, sigma, alpha_rate, sigma_rate = gaussian_flows.coefficients(name, times)
    noise = (np.asarray(drawn["states"], np.float64) - alpha * unit(batch)) / sigma
    return alpha, sigma, alpha_rate, sigma_rate, noise


def exact(prediction, batch, told):
    """What a network that knew data and noise would say."""
    _, sigma, alpha_rate, sigma_rate, noise = told
    return {
        "velocity": alpha_rate * unit(batch) + sigma_rate * noise,
        "noise": noise,
        "data": unit(batch),
        "score": -noise / sigma,
    }[prediction]


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_exact_prediction_has_no_loss_and_another_its_square(name, prediction):
    batch = tiny.batch(64)
    drawn = draw(path_spec(noise=name, prediction=prediction), batch)
    told = parts(name, batch, drawn)
    right = exact(prediction, batch, told)
    none = diffusion_loss.squared_errors(jnp.asarray(right, jnp.float32), drawn)
    # Early times multiply what float32 rounded in the states.
    np.testing.assert_allclose(none, 0, atol=1e-3)
    random = np.random.default_rng(3).normal(size=right.shape)
    found = diffusion_loss.squared_errors(jnp.asarray(right + random, jnp.float32), drawn)
    weight = told[1] if prediction == "score" else 1.0
    np.testing.assert_allclose(found, np.mean((weight * random) ** 2, axis=-1), rtol=1e-2)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_noise_is_normal_and_times_are_those_asked_for(name):
    batch = tiny.batch(MANY)
    for times in ("uniform", "lognormal"):
        drawn = draw(path_spec(noise=name, times=times), batch)
        alpha, sigma, _, _, noise = parts(name, batch, drawn)
        check_standard(noise[sigma[:, 0, 0] > 0.05])
        time, ratio = np.asarray(drawn["times"]), np.log(sigma / alpha)[:, 0, 0]
        if times == "uniform":
            assert abs(np.mean(time) - 0.5) < 4.5 * np.sqrt(1 / 12 / MANY)
            assert abs(np.var(time) - 1 / 12) < 4.5 * np.sqrt(1 / 180 / MANY)
        else:
            check_standard(ratio)
        # Neither the noise of a row nor another row's time knows of its time.
        assert abs(np.corrcoef(time[:-1], time[1:])[0, 1]) < 4.5 / np.sqrt(MANY)


def test_steps_are_even_and_mix_as_the_schedule_says():
    batch, spec = tiny.batch(MANY), tiny.STEPS
    drawn = draw(spec, batch)
    steps = np.asarray(drawn["times"])
    np.testing.assert_array_equal(steps, np.round(steps))
    assert steps.min() < 10
    assert 990 <= steps.max() <= 999
    assert abs(np.mean(steps) - 499.5) < 4.5 * np.sqrt(1e6 / 12 / MANY)
    share = (np.arange(1001) / 1000 + 0.008) / 1.008
    kept = np.cos(np.pi / 2 * share) ** 2
    beta = np.minimum(1 - kept[1:] / kept[:-1], 0.999)
    kept = np.cumprod(1 - beta)[steps.astype(int)][:, None, None]
    noise = np.asarray(drawn["target"])
    states = np.sqrt(kept) * unit(batch) + np.sqrt(1 - kept) * noise
    np.testing.assert_allclose(drawn["states"], states, atol=1e-5)
    check_standard(noise)
    right = diffusion_loss.squared_errors(drawn["target"], drawn)
    np.testing.assert_array_equal(right, 0)
    few = draw(dataclasses.replace(spec, num_steps=4), batch)
    np.testing.assert_array_equal(np.unique(few["times"]), [0, 1, 2, 3])


@pytest.mark.parametrize("spec", [diffusion_loss.LossSpec(), tiny.STEPS], ids=["path", "steps"])
def test_a_row_draws_whatever_stands_beside_it(spec):
    batch = tiny.batch()
    whole, half = draw(spec, batch), draw(spec, jax.tree.map(lambda rows: rows[:4], batch))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[:4], b), whole, half)
    other = draw(spec, batch, seed=1)
    assert np.all(whole["times"] != other["times"])


def test_labels_are_dropped_at_their_rate_in_training_alone():
    batch = tiny.batch(MANY)
    told = np.asarray(batch["labels"])
    for rate in (0.0, 0.25, 1.0):
        spec = path_spec(condition_drop_rate=rate)
        labels = np.asarray(draw(spec, batch)["labels"])
        is_dropped = labels == tiny.CLASSES
        spread = np.sqrt(rate * (1 - rate) / MANY)
        assert abs(is_dropped.mean() - rate) <= 4.5 * spread
        np.testing.assert_array_equal(labels[~is_dropped], told[~is_dropped])
        np.testing.assert_array_equal(draw(spec, batch, is_training=False)["labels"], told)


def test_padding_and_rows_that_are_none_count_for_nothing():
    batch = tiny.batch() | {"lengths": LENGTHS, "is_valid": jnp.arange(8) != 4}
    is_real = np.arange(4)[None] < np.asarray(LENGTHS)[:, None]
    batch["latents"] = jnp.where(is_real[..., None], batch["latents"], jnp.nan)
    spec = path_spec()
    drawn = draw(spec, batch)
    np.testing.assert_array_equal(drawn["is_real"], is_real)
    assert np.isfinite(drawn["target"]).all()
    assert diffusion_loss.num_positions(drawn) == int(LENGTHS.sum()) - 4

    def loss(predicted):
        sums = diffusion_loss.sums(predicted, drawn, spec)
        return diffusion_loss.per_position(sums, diffusion_loss.num_positions(drawn))

    is_scored = is_real & (np.arange(8) != 4)[:, None]
    target = np.asarray(drawn["target"], np.float64)
    by_hand = np.mean(target[is_scored] ** 2)
    value, gradient = jax.value_and_grad(loss)(jnp.zeros_like(drawn["target"]))
    np.testing.assert_allclose(value, by_hand, rtol=1e-5)
    np.testing.assert_array_equal(np.any(gradient != 0, axis=-1), is_scored)


def test_a_batch_without_rows_has_no_loss_in_place_of_nan():
    spec = path_spec()
    drawn = draw(spec, tiny.batch() | {"is_valid": jnp.zeros(8, bool)})
    sums = diffusion_loss.sums(drawn["target"] + 1, drawn, spec)
    assert diffusion_loss.per_position(sums, diffusion_loss.num_positions(drawn)) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": "linar"}, "loss.noise is 'linar'; did you mean 'linear'"),
        ({"prediction": "velocty"}, "did you mean 'velocity'"),
        ({"times": "lognorm"}, "did you mean 'lognormal'"),
        ({"condition_drop_rate": 1.5}, "loss.condition_drop_rate is 1.5; expected 0 to 1"),
        ({"average_decay": -1.0}, "loss.average_decay is -1.0; expected 0 to 1"),
        ({"num_steps": 1}, "num_steps is 1; expected at least 2"),
        ({"noise": "squared_cosine"}, "loss.prediction is 'velocity' and loss.times 'lognormal'"),
    ],
)
def test_losses_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(errors.UserError, match=message):
        path_spec(**changes)


def test_a_variance_is_of_steps():
    model = dataclasses.replace(tiny.SPEC, learns_variance=True)
    diffusion_loss.check(model, tiny.STEPS)
    diffusion_loss.check(tiny.SPEC, diffusion_loss.LossSpec())
    with pytest.raises(errors.UserError, match="loss.noise is 'linear', a path, which has no"):
        diffusion_loss.check(model, diffusion_loss.LossSpec())
