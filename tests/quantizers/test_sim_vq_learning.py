"""Of SimVQ only the map learns: by the chain rule, from a fit that least squares cannot better."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.losses import quantization
from resgen_jax.quantizers import interface, rvq, sim_vq, sim_vq_learning

SPEC = interface.Spec(code_dim=3, depth=2, codebook_size=8, learning_rate=0.02)


@pytest.fixture
def latents(key):
    return 2.0 * jax.random.normal(jax.random.fold_in(key, 1), (6, 7, 3))


@pytest.fixture(scope="module")
def learner():
    learner = interface.make("sim_vq", SPEC)
    functions = ("init", "start", "quantize", "update", "codebooks")
    return learner._replace(**{name: jax.jit(getattr(learner, name)) for name in functions})


def error(learner, state, latents):
    return float(jnp.mean((latents - learner.quantize(state, latents).quantized) ** 2))


def test_the_maps_alone_change_and_the_error_falls(learner, latents, key):
    first = state = learner.init(key)
    for _ in range(30):
        state = learner.update(state, latents, learner.quantize(state, latents), key)
    np.testing.assert_array_equal(state.frozen, first.frozen)
    assert (state.kernels != first.kernels).all()
    assert error(learner, state, latents) < 0.7 * error(learner, first, latents)
    started = learner.start(state, latents, key)
    np.testing.assert_array_equal(started.frozen, first.frozen)
    assert int(started.moments.num_steps) == 0


def test_the_gradient_of_the_map_is_that_of_its_codebook_loss(learner, latents, key):
    state = learner.init(key)
    quantized = learner.quantize(state, latents)

    def loss(kernels):
        total, residual = 0.0, latents
        for level, frozen in enumerate(state.frozen):
            params = {"frozen": frozen, "map": {"kernel": kernels[level]}}
            chosen = sim_vq.decode(params, quantized.codes[..., level])
            total += jnp.mean(quantization.codebook_loss(residual, chosen))
            residual = jax.lax.stop_gradient(residual - chosen)
        return total

    # The first moment after one step is a tenth of the gradient.
    found = 10.0 * learner.update(state, latents, quantized, key).moments.first
    np.testing.assert_allclose(found, jax.grad(loss)(state.kernels), rtol=1e-4, atol=1e-6)


def test_each_iteration_of_the_fit_leaves_less(learner, latents, key):
    state = learner.init(key)
    is_valid = jnp.arange(7)[None] < jnp.arange(2, 8)[:, None]

    def left(num_iterations):
        kernels = sim_vq_learning.fit_maps(
            state.frozen[:1],
            state.kernels[:1],
            jnp.where(is_valid[..., None], latents, 1e3),
            is_valid,
            num_iterations=num_iterations,
            max_distances=64,
        )
        table = jnp.einsum("vd,dc->vc", state.frozen[0], kernels[0])
        codes, remainder = rvq.encode(latents, table[None])
        return codes[is_valid][:, 0], remainder[is_valid]

    runs = [left(number) for number in (0, 1, 40)]
    errors = [float(jnp.mean(remainder**2)) for _, remainder in runs]
    assert errors == sorted(errors, reverse=True)
    # Where the codes are settled, no map of them is nearer: what is left is at right angles.
    codes, remainder = runs[-1]
    chosen = np.asarray(state.frozen[0])[np.asarray(codes)]
    np.testing.assert_allclose(chosen.T @ np.asarray(remainder), 0.0, atol=1e-2)
