"""Examples of different lengths in one batch: padding counts for nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_rq_transformer
import tiny_tasks

from resgen_jax.core import keys, spaces
from resgen_jax.processes import mask_schedules, rvq_masking
from resgen_jax.training import padding, resgen_loss, resgen_task, rq_transformer_task

LENGTHS = np.array([6, 3, 3])
CODES = spaces.Codes(depth=3, codebook_size=8, code_dim=4)
SPACE = spaces.Space(CODES, 6, condition=spaces.Class(3))


@pytest.fixture(scope="module")
def batch():
    """Codes of three lengths, with nonsense behind them."""
    random = np.random.default_rng(0)
    return {
        "codes": jnp.asarray(random.integers(0, 8, (3, 6, 3)), jnp.int32),
        "labels": jnp.array([0, 2, 1], jnp.int32),
        "lengths": jnp.asarray(LENGTHS, jnp.int32),
        "is_valid": jnp.ones(3, bool),
    }


def resgen():
    loss = resgen_loss.LossSpec(condition_drop_rate=0.0, num_nll_draws=4)
    return resgen_task.ResGenTask(
        tiny_tasks.MODEL, loss, tiny_tasks.OPTIMIZER, 10, SPACE, tiny_tasks.codebooks()
    )


def rq_transformer():
    return rq_transformer_task.RqTransformerTask(
        tiny_rq_transformer.SPEC,
        rq_transformer_task.LossSpec(),
        tiny_rq_transformer.OPTIMIZER,
        10,
        SPACE,
        tiny_tasks.codebooks(),
    )


def short(batch):
    """The rows of three positions without their padding, and with nothing told of lengths."""
    own = {name: batch[name][1:] for name in ("codes", "labels", "is_valid")}
    return own | {"codes": own["codes"][:, :3]}


def test_what_is_real_and_what_is_scored():
    batch = {"codes": jnp.zeros((3, 3, 2), jnp.int32), "lengths": jnp.array([3, 1, 2])}
    real = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0]], bool)
    np.testing.assert_array_equal(padding.is_real(batch), real)
    np.testing.assert_array_equal(padding.is_scored(batch), real)
    rows = batch | {"is_valid": jnp.array([False, True, True])}
    np.testing.assert_array_equal(padding.is_scored(rows), real & [[False], [True], [True]])
    del rows["lengths"]
    assert padding.is_real(rows) is None
    np.testing.assert_array_equal(padding.is_scored(rows), [[False] * 3, [True] * 3, [True] * 3])


def test_the_loss_of_padded_rows_is_their_loss_without_padding(batch):
    """Masked by the same keys; and nothing behind a row's end matters, not to a gradient either."""
    task = resgen()
    state = jax.jit(task.init)(jax.random.key(0))
    params = jax.tree.map(
        lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(1), leaf.shape), state.params
    )
    books = state.statistics["codebooks"]

    def sums(params, drawn):
        return task._sums(params, books, drawn)

    def draw(batch):
        return resgen_loss.draw(batch, jax.random.key(2), task.loss, SPACE, is_training=False)

    drawn = draw(batch | {"is_valid": jnp.array([False, True, True])})
    own = short(batch) | {
        "is_masked": drawn["is_masked"][1:, :3],
        "is_taught": drawn["is_taught"][1:, :3],
        "is_scored": jnp.ones((2, 3), bool),
        "head": drawn["head"][1:],
    }
    row_keys = keys.example_keys(keys.named_keys(jax.random.key(2), "mask")["mask"], jnp.arange(3))
    mask = rvq_masking.sample_mask(row_keys[1:], mask_schedules.cosine, 3, 3)
    np.testing.assert_array_equal(own["is_masked"], mask)
    run = jax.jit(sums)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4),
        (resgen_loss.counts(drawn), run(params, drawn)),
        (resgen_loss.counts(own), run(params, own)),
    )

    gradient = jax.jit(jax.grad(lambda params, drawn: sums(params, drawn).head["loss"]))
    other = jnp.where(padding.is_real(batch)[..., None], batch["codes"], 7)
    found = gradient(params, draw(batch | {"codes": other}))
    jax.tree.map(np.testing.assert_array_equal, found, gradient(params, draw(batch)))


@pytest.mark.parametrize(
    ("make", "name"), [(resgen, "code_head_nll"), (rq_transformer, "code_nll")]
)
def test_held_out_nats_of_padded_rows_are_those_without_padding(batch, make, name):
    task = make()
    state = jax.jit(task.init)(jax.random.key(0))
    evaluate = jax.jit(task.evaluate)
    rows = batch | {"is_valid": jnp.array([False, True, True])}
    together = evaluate(state, rows, jax.random.key(3))
    own = evaluate(state, short(batch), jax.random.key(3))
    for level in range(3):
        key = f"{name}/level_{level}"
        np.testing.assert_allclose(together[key], own[key], rtol=1e-4)
    other = jnp.where(padding.is_real(batch)[..., None], batch["codes"], 7)
    again = evaluate(state, rows | {"codes": other}, jax.random.key(3))
    for key in together:
        np.testing.assert_allclose(again[key], together[key], rtol=1e-5)
