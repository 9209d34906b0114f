"""Laws of the optimizer, against a NumPy AdamW."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resgen_jax.core import errors
from resgen_jax.training import average, clipping, optimizer


def adamw(spec, params, gradients_of_step, rates):
    """AdamW after Loshchilov and Hutter, in float64."""
    params = {name: value.astype(np.float64) for name, value in params.items()}
    first = {name: np.zeros_like(value) for name, value in params.items()}
    second = {name: np.zeros_like(value) for name, value in params.items()}
    for step, gradients in enumerate(gradients_of_step):
        norm = np.sqrt(sum(np.sum(g**2) for g in gradients.values()))
        scale = min(1.0, spec.clip_norm / norm) if spec.clip_norm else 1.0
        for name, gradient in gradients.items():
            gradient = gradient * scale
            first[name] = spec.b1 * first[name] + (1 - spec.b1) * gradient
            second[name] = spec.b2 * second[name] + (1 - spec.b2) * gradient**2
            mean = first[name] / (1 - spec.b1 ** (step + 1))
            square = second[name] / (1 - spec.b2 ** (step + 1))
            decay = spec.weight_decay * params[name] if name == "kernel" else 0.0
            params[name] = params[name] - rates[step] * (
                mean / (np.sqrt(square) + spec.eps) + decay
            )
    return params


def test_updates_equal_a_numpy_adamw_with_decay_on_kernels_only():
    spec = optimizer.Spec(learning_rate=0.1, warmup_steps=2, weight_decay=0.3, clip_norm=0.7)
    random = np.random.default_rng(0)
    params = {name: random.normal(size=(3, 2)).astype(np.float32) for name in ("kernel", "scale")}
    gradients = [
        {name: random.normal(size=(3, 2)).astype(np.float32) for name in params} for _ in range(5)
    ]
    transform, rate = optimizer.make(spec, 5), optimizer.schedule(spec, 5)
    state = optimizer.initial_state(jax.tree.map(jnp.asarray, params), transform)
    gradients[2] = jax.tree.map(lambda leaf: 0.1 * leaf, gradients[2])  # too short to be clipped
    are_clipped = []
    for gradient in gradients:
        state, metrics = optimizer.apply_gradients(
            state, gradient, transform, rate=rate, average_decay=0.9
        )
        norm = np.sqrt(sum(np.sum(g**2) for g in gradient.values()))
        np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-6)
        are_clipped.append(norm > spec.clip_norm)
        np.testing.assert_allclose(metrics["clipped_share"], np.mean(are_clipped), rtol=1e-5)
    assert are_clipped == [True, True, False, True, True]
    expected = adamw(spec, params, gradients, [float(rate(jnp.int32(step))) for step in range(5)])
    for name in params:
        np.testing.assert_allclose(state.params[name], expected[name], rtol=1e-4, atol=1e-5)
    assert int(state.step) == 5


def test_the_clipped_share_forgets_after_a_hundred_steps():
    transform = clipping.by_norm(1.0)
    state = transform.init(None)
    shares = []
    for step in range(600):
        _, state = transform.update({"x": jnp.float32(2.0 if step < 100 else 0.5)}, state)
        shares.append(float(clipping.metrics(state)["clipped_share"]))
    np.testing.assert_allclose(shares[:100], 1.0, rtol=1e-5)
    np.testing.assert_allclose(shares[199], 0.99**100, rtol=1e-3)
    assert shares[-1] < 0.01
    assert clipping.metrics(optax.scale(1.0).init(None)) == {}


@pytest.mark.parametrize("decay", ["constant", "cosine", "linear"])
def test_schedule_warms_up_and_ends_at_the_final_ratio(decay):
    spec = optimizer.Spec(learning_rate=2.0, warmup_steps=4, decay=decay, final_ratio=0.25)
    rates = np.array([optimizer.schedule(spec, 20)(jnp.int32(step)) for step in range(21)])
    np.testing.assert_allclose(rates[:4], [0.5, 1.0, 1.5, 2.0], rtol=1e-6)
    middle = {"constant": 2.0, "cosine": 2 * (0.25 + 0.75 / 2), "linear": 2 * (0.25 + 0.75 / 2)}
    np.testing.assert_allclose(rates[12], middle[decay], rtol=1e-6)
    np.testing.assert_allclose(rates[20], 2.0 if decay == "constant" else 0.5, rtol=1e-6)
    assert np.all(np.diff(rates[4:]) <= 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"warmup_steps": 30}, "warmup_steps 30 is longer than the run of 20"),
        ({"decay": "cosin"}, "did you mean 'cosine'"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"final_ratio": 2.0}, "final_ratio is 2.0; expected 0.0 or more, up to 1.0"),
        ({"num_microbatches": 0}, "num_microbatches is 0; expected 1 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, message):
    with pytest.raises(errors.UserError, match=message):
        optimizer.make(optimizer.Spec(**change), 20)


def test_warm_up_and_decay_begin_anew_and_leave_what_was_before():
    spec = optimizer.Spec(learning_rate=0.1, warmup_steps=3, final_ratio=0.01)
    again = dataclasses.replace(spec, rewarm_at=(20, 30))
    rate, lengths = optimizer.schedule(again, 100), (20, 10, 70)
    parts = [jax.vmap(optimizer.schedule(spec, n))(jnp.arange(n)) for n in lengths]
    np.testing.assert_allclose(jax.vmap(rate)(jnp.arange(100)), np.concatenate(parts), rtol=1e-6)
    assert float(rate(jnp.int32(100))) == pytest.approx(0.001)
    assert float(rate(jnp.int32(20))) == pytest.approx(0.1 / 3)


@pytest.mark.parametrize("steps", [(20, 20), (20, 10), (10, 50), (10, 49), (0,), (-1,)])
def test_steps_to_begin_anew_at_have_to_leave_room(steps):
    with pytest.raises(errors.UserError, match=r"rewarm_at is \(.* end at 50, with room for"):
        optimizer.schedule(optimizer.Spec(warmup_steps=2, rewarm_at=steps), 50)


def test_average_follows_its_recursion():
    random = np.random.default_rng(0)
    expected = random.normal(size=5)
    averaged = {"kernel": jnp.asarray(expected, jnp.float32), "count": jnp.int32(0)}
    for step in range(30):
        new = random.normal(size=5)
        decay = min(0.7, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * new
        trained = {"kernel": jnp.asarray(new, jnp.float32), "count": jnp.int32(step)}
        averaged = average.update(averaged, trained, 0.7, jnp.int32(step))
    np.testing.assert_allclose(averaged["kernel"], expected, rtol=1e-5)
    assert averaged["count"] == 29  # what is no float is the newest


def test_muon_moves_the_matrices_of_layers_evenly_in_all_directions_and_the_rest_as_adamw():
    random = np.random.default_rng(0)

    def tree():
        return {
            "blocks": {"up": {"kernel": random.normal(size=(3, 16, 8)).astype(np.float32)}},
            "out": {"kernel": random.normal(size=(8, 5)).astype(np.float32)},
        }

    params, gradients = jax.tree.map(jnp.asarray, tree()), tree()
    moved = {}
    for matrices in optimizer.MATRICES:
        spec = optimizer.Spec(learning_rate=0.1, decay="constant", matrices=matrices)
        transform = optimizer.make(spec, 5)
        state = optimizer.initial_state(params, transform)
        state, _ = optimizer.apply_gradients(
            state, gradients, transform, rate=optimizer.schedule(spec, 5), average_decay=0.9
        )
        moved[matrices] = jax.tree.map(lambda after, before: after - before, state.params, params)
    np.testing.assert_allclose(
        moved["muon"]["out"]["kernel"], moved["adamw"]["out"]["kernel"], rtol=1e-5
    )
    for update, gradient in zip(
        moved["muon"]["blocks"]["up"]["kernel"], gradients["blocks"]["up"]["kernel"], strict=True
    ):
        values = np.linalg.svd(np.asarray(update, np.float64), compute_uv=False)
        # Newton-Schulz in five steps brings singular values to about 0.7 to 1.2 of one another.
        assert values.max() / values.min() < 2
        assert np.linalg.cond(gradient) > 3
        assert np.sum(update * gradient) < 0  # downhill
        np.testing.assert_allclose(np.sqrt(np.mean(update**2)), 0.1 * 0.2, rtol=0.2)


def test_another_mover_of_matrices_is_refused():
    with pytest.raises(errors.UserError, match="optimizer.matrices is 'sgd'"):
        optimizer.Spec(matrices="sgd")


def test_muon_for_a_network_without_layers_is_refused():
    transform = optimizer.make(optimizer.Spec(matrices="muon"), 5)
    with pytest.raises(errors.UserError, match="'muon', but the network has no stacked layers"):
        optimizer.initial_state({"conv": {"kernel": jnp.zeros((3, 3, 2, 2))}}, transform)
