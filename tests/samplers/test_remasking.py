"""Hiding revealed codes again: counts, masks and their law, and what never changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.processes import mask_schedules, rvq_masking
from resgen_jax.samplers import guidance, mask_predict, order, remasking

BATCH, LENGTH, DEPTH, NUM_STEPS = 3, 5, 4, 6
NUM_TOKENS = LENGTH * DEPTH
NUM_MASKED = mask_schedules.num_masked_per_step(mask_schedules.cosine, NUM_STEPS, NUM_TOKENS)


def numbered(step_keys, codes, is_masked, knobs):
    """Proposes the number of the step, so that codes tell when they were drawn."""
    del step_keys
    return jnp.full(codes.shape, knobs), -jnp.asarray(is_masked, jnp.float32)


def fill(num_remasked, masks="coarse_first", score=remasking.at_random, batch=BATCH, **changes):
    shape = (batch, LENGTH, DEPTH)
    arguments = {
        "keys": jax.vmap(jax.random.key)(jnp.arange(batch)),
        "predict": numbered,
        "codes": jnp.full(shape, -1, jnp.int32),
        "is_masked": jnp.ones(shape, bool),
        "num_masked": NUM_MASKED,
    } | changes
    num_steps = len(arguments["num_masked"])
    return mask_predict.fill_with_states(
        **arguments,
        order_noise=order.constant(num_steps, 0.0),
        knobs=np.arange(num_steps, dtype=np.int32),
        order=order.at_random,
        pick=order.PICKS[masks],
        remask=remasking.Remask(num_remasked, score, remasking.EXCHANGES[masks]),
    )


@pytest.mark.parametrize("kind", remasking.KINDS)
@pytest.mark.parametrize("masks", remasking.EXCHANGES)
def test_counts_are_the_schedules_and_masks_those_of_training(kind, masks):
    amount, score, _ = remasking.KINDS[kind]
    num_remasked = amount(NUM_MASKED, NUM_TOKENS, 0.8)
    filled, (states, hidden) = fill(num_remasked, masks, score)
    hidden, states = np.asarray(hidden), np.asarray(states)
    np.testing.assert_array_equal(hidden.sum(axis=(2, 3)), np.repeat(NUM_MASKED[:, None], BATCH, 1))
    np.testing.assert_array_equal(hidden, rvq_masking.MASKS[masks](jnp.asarray(hidden)))
    assert (hidden[1:] & ~hidden[:-1]).any(), "something revealed is hidden again"
    assert (np.asarray(filled) >= 0).all()
    changed = ~hidden[:-1] & ~hidden[1:] & (states[1:] != states[:-1])
    assert not changed.any(), "what stays revealed stays as it is"
    np.testing.assert_array_equal(filled, states[-1])


def test_known_codes_are_never_hidden():
    is_masked = jnp.asarray(np.arange(DEPTH) >= np.array([0, 2, 4, 1, 0])[:, None])
    is_masked = jnp.broadcast_to(is_masked, (BATCH, LENGTH, DEPTH))
    codes = jnp.where(is_masked, -1, 77)
    num_tokens = int(is_masked[0].sum())
    num_masked = mask_schedules.num_masked_per_step(mask_schedules.cosine, NUM_STEPS, num_tokens)
    num_remasked = remasking.rescale(num_masked, num_tokens, 1.0)
    filled, (_, hidden) = fill(
        num_remasked, codes=codes, is_masked=is_masked, num_masked=num_masked
    )
    assert not (np.asarray(hidden) & ~np.asarray(is_masked)).any()
    np.testing.assert_array_equal(np.asarray(filled) == 77, ~np.asarray(is_masked))


def test_hiding_nothing_is_no_remasking():
    filled, states = fill(np.zeros(NUM_STEPS, np.int32))
    shape = (BATCH, LENGTH, DEPTH)
    plain, others = mask_predict.fill_with_states(
        jax.vmap(jax.random.key)(jnp.arange(BATCH)),
        numbered,
        jnp.full(shape, -1, jnp.int32),
        jnp.ones(shape, bool),
        NUM_MASKED,
        order_noise=order.constant(NUM_STEPS, 0.0),
        knobs=np.arange(NUM_STEPS, dtype=np.int32),
        order=order.at_random,
    )
    np.testing.assert_array_equal(filled, plain)
    jax.tree.map(np.testing.assert_array_equal, states, others)


def test_counts_of_positions_stay_hypergeometric():
    """Remasking changes how a state is reached and not how likely it is: two positions of depth 3.

    Expected are the exact probabilities C(3, k) C(3, 3 - k) / C(6, 3) of `log_marginal`.
    """
    batch = 6000
    shape = (batch, 2, 3)
    _, (_, hidden) = fill(
        np.array([0, 2, 0]),
        keys=jax.vmap(jax.random.key)(jnp.arange(batch)),
        codes=jnp.zeros(shape, jnp.int32),
        is_masked=jnp.ones(shape, bool),
        num_masked=np.array([4, 3, 0]),
    )
    found = np.bincount(np.asarray(hidden[1, :, 0].sum(axis=-1)), minlength=4) / batch
    pairs = jnp.array([[0, 3], [1, 2], [2, 1], [3, 0]])
    np.testing.assert_allclose(found, np.exp(rvq_masking.log_marginal(pairs, 3)), atol=0.025)


def test_the_amounts_by_hand_and_their_bound():
    num_masked = np.array([15, 8, 3, 0])  # revealed before each step: 0, 5, 12, 17
    np.testing.assert_array_equal(remasking.most(num_masked, 20), [0, 5, 3, 0])
    np.testing.assert_array_equal(remasking.cap(num_masked, 20, 0.2), [0, 1, 2, 0])
    np.testing.assert_array_equal(remasking.cap(num_masked, 20, 0.5), [0, 2, 3, 0])
    np.testing.assert_array_equal(remasking.rescale(num_masked, 20, 1.0), [0, 5, 3, 0])
    each = np.stack([num_masked, [3, 2, 1, 0]], axis=-1)
    np.testing.assert_array_equal(
        remasking.most(each, np.array([20, 4])).T, [[0, 5, 3, 0], [0, 1, 1, 0]]
    )


def test_the_least_sure_are_hidden_first():
    surety = jnp.asarray(np.linspace(-60, 0, NUM_TOKENS), jnp.float32).reshape(1, LENGTH, DEPTH)
    score = remasking.least_sure(jax.random.key(0)[None], surety)
    hidden = np.argsort(-np.asarray(score).reshape(-1))[:8]
    assert hidden.max() < 12


def test_confidences_of_when_a_code_was_revealed_count_and_not_those_of_now():
    """Codes of position 0 are sure when they are drawn, and doubtful ever after."""

    def predict(step_keys, codes, is_masked, knobs):
        sure = jnp.where(jnp.arange(LENGTH)[:, None] == 0, 900.0, 0.0)
        sure = jnp.broadcast_to(sure, codes.shape)
        return jnp.full(codes.shape, knobs), jnp.where(is_masked, sure, -900.0)

    _, (_, hidden) = fill(
        np.array([0, 6, 0]),
        score=remasking.least_sure,
        predict=predict,
        num_masked=np.array([8, 7, 0]),
    )
    first, then = np.asarray(hidden)[:2]
    assert not (then & ~first)[:, 0].any()


def test_a_loop_stands_still_between_the_steps_of_a_shorter_schedule():
    def counts(num_steps):
        return mask_schedules.num_masked_per_step(mask_schedules.linear, num_steps, 20)

    is_in = guidance.is_within(8, 0.25, 0.75)
    np.testing.assert_array_equal(remasking.loop(counts, 8, is_in), [15, 10, 10, 10, 10, 10, 5, 0])
    for low, high in ((0.0, 0.5), (0.5, 1.0), (0.51, 0.52)):
        with pytest.raises(errors.UserError, match="at least one step before and one after"):
            remasking.loop(counts, 8, guidance.is_within(8, low, high))


def test_a_step_predicts_once():
    calls = []

    def predict(*told):
        calls.append(1)
        return numbered(*told)

    jax.make_jaxpr(lambda: fill(np.zeros(NUM_STEPS, np.int32), predict=predict))()
    assert len(calls) == 1  # in the body of the loop over steps
