"""Laws of microbatches: taken one after the other, they are the whole batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_task

from resgen_jax.training import microbatches


@pytest.mark.parametrize("num_microbatches", [2, 4])
def test_accumulated_gradients_equal_those_of_the_whole_batch(key, num_microbatches):
    task = toy_task.ToyTask(noise=0.5)
    params = toy_task.first_state(task).params
    batch = task.draw(jax.tree.map(jnp.asarray, toy_task.batch()), key)

    def loss(params, rows):
        return task.loss(params, rows, 16)

    whole = jax.jit(lambda: microbatches.value_and_grad(loss, params, batch))()
    parts = jax.jit(lambda: microbatches.value_and_grad(loss, params, batch, num_microbatches))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), whole, parts)


@pytest.mark.parametrize("num_microbatches", [1, 2, 3])
def test_parts_add_up_and_rows_come_back_in_their_order(key, num_microbatches):
    def loss(params, batch):
        rows = {"sum": params * jnp.sum(batch["x"], axis=-1), "codes": batch["codes"]}
        draws = jax.vmap(jax.random.uniform)(batch["keys"])
        return jnp.sum(rows["sum"]), ({"count": jnp.float32(len(draws))}, rows | {"draw": draws})

    random = np.random.default_rng(0)
    x = random.normal(size=(6, 4)).astype(np.float32)
    batch = {"x": jnp.asarray(x), "codes": jnp.arange(12).reshape(6, 2)}
    batch["keys"] = jax.random.split(key, 6)
    (value, (parts, rows)), gradient = jax.jit(
        lambda: microbatches.value_and_grad(loss, jnp.float32(2), batch, num_microbatches)
    )()
    np.testing.assert_allclose(rows["sum"], 2 * x.sum(axis=-1), rtol=1e-5)
    np.testing.assert_array_equal(rows["codes"], batch["codes"])
    np.testing.assert_array_equal(rows["draw"], jax.vmap(jax.random.uniform)(batch["keys"]))
    np.testing.assert_allclose(value, 2 * x.sum(), rtol=1e-5)
    np.testing.assert_allclose(gradient, x.sum(), rtol=1e-5)
    assert parts["count"] == 6
