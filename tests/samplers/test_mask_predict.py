"""The sampling loop, with a table as its model: laws, and an independent loop in plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors, keys
from resgen_jax.processes import mask_schedules, masks, rvq_masking
from resgen_jax.samplers import mask_predict, order

BATCH, LENGTH, DEPTH, CODEBOOK_SIZE = 3, 5, 4, 7
NUM_TOKENS = LENGTH * DEPTH


def batch_keys(num, start=0):
    return jax.vmap(jax.random.key)(jnp.arange(start, start + num))


def table_predict(step_keys, codes, is_masked, knobs):
    """Draws from the row's key and reads the row's state: both show in what comes out."""

    def row(key, codes, is_masked):
        use = keys.named_keys(key, "proposal", "confidence")
        seen = jnp.sum(codes, where=~is_masked)
        drawn = jax.random.randint(use["proposal"], codes.shape, 0, CODEBOOK_SIZE)
        return (drawn + seen) % CODEBOOK_SIZE, jax.random.normal(use["confidence"], codes.shape)

    proposal, confidence = jax.vmap(row)(step_keys, codes, is_masked)
    return proposal, confidence if knobs is None else confidence * knobs


@pytest.fixture
def start():
    """Codes with a prompt: some positions known to some depth, more in some rows than others."""
    random = np.random.default_rng(0)
    codes = random.integers(0, CODEBOOK_SIZE, (BATCH, LENGTH, DEPTH)).astype(np.int32)
    num_hidden = random.integers(0, DEPTH + 1, (BATCH, LENGTH))
    num_hidden[:, 0] = DEPTH
    is_masked = np.arange(DEPTH) >= DEPTH - num_hidden[..., None]
    return jnp.asarray(codes), jnp.asarray(is_masked)


def all_masked(batch=BATCH, length=LENGTH, depth=DEPTH):
    shape = (batch, length, depth)
    return jnp.zeros(shape, jnp.int32), jnp.ones(shape, bool)


def plain_reveal(score, is_masked, num_reveal):
    """The reveal rule of one example, cell by cell."""
    cells = sorted(
        (tuple(cell) for cell in np.argwhere(is_masked)), key=lambda cell: -score[cell]
    )  # stable: equal scores stay in order
    is_revealed = np.zeros_like(is_masked)
    for position in [cell[0] for cell in cells[:num_reveal]]:
        hidden = np.flatnonzero(is_masked[position] & ~is_revealed[position])
        is_revealed[position, hidden[0]] = True
    return is_revealed


def plain_fill(row_keys, predict, codes, is_masked, num_masked, order_noise, knobs):
    """The whole loop in Python, on host arrays."""
    codes, is_masked = np.array(codes), np.array(is_masked)
    for step, num_left in enumerate(num_masked):
        use = [keys.named_keys(keys.step_key(key, step), "predict", "order") for key in row_keys]
        proposal, confidence = predict(
            jnp.stack([key["predict"] for key in use]),
            jnp.asarray(codes),
            jnp.asarray(is_masked),
            knobs[step],
        )
        for row in range(len(codes)):
            gumbel = jax.random.gumbel(use[row]["order"], confidence.shape[1:])
            score = np.asarray(confidence[row] + order_noise[step] * gumbel)
            left = num_left[row] if np.ndim(num_left) else num_left
            num_reveal = max(int(is_masked[row].sum() - left), 0)
            is_revealed = plain_reveal(score, is_masked[row], num_reveal)
            codes[row][is_revealed] = np.asarray(proposal)[row][is_revealed]
            is_masked[row] &= ~is_revealed
    return codes


def test_jitted_loop_equals_the_plain_one_bit_for_bit(start):
    codes, is_masked = start
    num_initially = np.asarray(is_masked.sum(axis=(1, 2)))
    num_masked = mask_schedules.num_masked_per_example(mask_schedules.cosine, 4, num_initially)
    order_noise, knobs = order.linear_decay(4, 2.0), np.float32([1, 0.5, 2, 1])
    arguments = (batch_keys(BATCH), table_predict, codes, is_masked, num_masked)

    @jax.jit
    def fill(order_noise, knobs):
        return mask_predict.fill(*arguments, order_noise=order_noise, knobs=knobs)

    expected = plain_fill(*arguments, order_noise, knobs)
    np.testing.assert_array_equal(fill(order_noise, knobs), expected)


@pytest.mark.parametrize("levels", [1, 3, CODEBOOK_SIZE])
def test_reveal_equals_the_cell_by_cell_rule_also_with_ties(levels):
    random = np.random.default_rng(levels)
    score = random.integers(0, levels, (40, LENGTH, DEPTH)).astype(np.float32)
    score[0, 0, 0], score[1, 2, 1], score[2, 3, 3] = np.nan, -np.inf, np.inf
    is_masked = random.random((40, LENGTH, DEPTH)) < 0.6
    num_reveal = random.integers(0, is_masked.sum(axis=(1, 2)) + 1)
    result = np.asarray(mask_predict.reveal(*map(jnp.asarray, (score, is_masked, num_reveal))))
    assert not (result & ~is_masked).any()
    np.testing.assert_array_equal(result.sum(axis=(1, 2)), num_reveal)
    for row in range(40):
        # what is not a number comes last, with minus infinity
        finite = np.nan_to_num(score[row], nan=-1e9, neginf=-1e9, posinf=1e9)
        expected = plain_reveal(finite, is_masked[row], num_reveal[row])
        np.testing.assert_array_equal(result[row], expected)


@pytest.mark.parametrize("how", [order.by_confidence, order.at_random])
def test_prompt_is_kept_all_is_filled_and_the_mask_stays_deepest_first(start, how):
    codes, is_masked = start
    num_masked = mask_schedules.num_masked_per_step(mask_schedules.cosine, 6, NUM_TOKENS)
    filled, (states, masks) = mask_predict.fill_with_states(
        batch_keys(BATCH),
        table_predict,
        jnp.where(is_masked, -1, codes),
        is_masked,
        num_masked,
        order_noise=order.constant(6, 1.0),
        order=how,
    )
    np.testing.assert_array_equal(filled[~is_masked], codes[~is_masked])
    assert (filled >= 0).all()
    np.testing.assert_array_equal(states[-1], filled)
    assert not masks[-1].any()
    assert (np.diff(np.asarray(masks, int), axis=-1) >= 0).all(), "deepest first"
    assert (np.diff(np.asarray(masks, int), axis=0) <= 0).all(), "revealed cells stay revealed"
    num_initially = np.asarray(is_masked.sum(axis=(1, 2)))
    expected = np.minimum(num_masked[:, None], num_initially[None, :])
    np.testing.assert_array_equal(masks.sum(axis=(2, 3)), expected)
    for before, after, mask in zip(states[:-1], states[1:], masks[:-1], strict=True):
        np.testing.assert_array_equal(before[~mask], after[~mask])


@pytest.mark.parametrize("kind", rvq_masking.MASKS)
def test_what_is_hidden_stays_as_the_masks_of_training(kind):
    """From all masked to none, every mask on the way is one that training may draw."""
    codes, is_masked = all_masked()
    num_masked = mask_schedules.num_masked_per_step(mask_schedules.cosine, 6, NUM_TOKENS)
    _, (_, masks) = mask_predict.fill_with_states(
        batch_keys(BATCH),
        table_predict,
        codes,
        is_masked,
        num_masked,
        order_noise=order.constant(6, 1.0),
        pick=order.PICKS[kind],
    )
    masks = np.asarray(masks)
    np.testing.assert_array_equal(masks.sum(axis=(2, 3)), np.repeat(num_masked[:, None], BATCH, 1))
    rises = np.diff(masks.astype(int), axis=-1)
    if kind == "indep":
        assert (rises > 0).any()
        assert (rises < 0).any()
    else:
        np.testing.assert_array_equal(masks, rvq_masking.MASKS[kind](jnp.asarray(masks)))
        assert rises.any()


def test_picks_reveal_as_many_as_were_chosen_at_the_levels_they_name():
    is_masked = jnp.array([[[1, 0, 1, 1, 1]]], bool)
    is_chosen = jnp.array([[[0, 0, 1, 1, 0]]], bool)
    expected = {
        "coarse_first": [1, 0, 1, 0, 0],
        "fine_first": [0, 0, 0, 1, 1],
        "indep": [0, 0, 1, 1, 0],
    }
    assert {*expected, "level_by_level"} == set(order.PICKS) == set(masks.KINDS)
    for kind, levels in expected.items():
        found = order.PICKS[kind](is_chosen, is_masked)
        np.testing.assert_array_equal(found, np.array([[levels]], bool))


def test_any_keep_mask_is_kept():
    random = np.random.default_rng(5)
    codes = jnp.asarray(random.integers(0, CODEBOOK_SIZE, (BATCH, LENGTH, DEPTH)), jnp.int32)
    is_masked = jnp.asarray(random.random(codes.shape) < 0.5)
    filled = mask_predict.fill(
        batch_keys(BATCH),
        lambda *_: (jnp.full(codes.shape, 99), jnp.zeros(codes.shape)),
        codes,
        is_masked,
        mask_schedules.num_masked_per_step(mask_schedules.cosine, 3, NUM_TOKENS),
        order_noise=order.constant(3, 1.0),
    )
    np.testing.assert_array_equal(filled, jnp.where(is_masked, 99, codes))


def test_one_token_a_step_down_to_the_last():
    codes, is_masked = all_masked()
    num_masked = mask_schedules.num_masked_per_step(mask_schedules.cosine, NUM_TOKENS, NUM_TOKENS)
    filled, (_, masks) = mask_predict.fill_with_states(
        batch_keys(BATCH),
        table_predict,
        codes - 1,
        is_masked,
        num_masked,
        order_noise=order.linear_decay(NUM_TOKENS, 1.0),
    )
    assert (filled >= 0).all()
    expected = np.broadcast_to(np.arange(NUM_TOKENS)[::-1, None], (NUM_TOKENS, BATCH))
    np.testing.assert_array_equal(masks.sum(axis=(2, 3)), expected)


def test_states_do_not_change_the_codes(start):
    codes, is_masked = start
    arguments = (batch_keys(BATCH), table_predict, codes, is_masked, np.array([12, 5, 0]))
    noise = order.linear_decay(3, 1.0)
    filled, _ = mask_predict.fill_with_states(*arguments, order_noise=noise)
    np.testing.assert_array_equal(filled, mask_predict.fill(*arguments, order_noise=noise))


def test_at_random_reveals_by_the_hypergeometric_posterior():
    """Counts left at each position after the first step, against their exact probabilities."""
    batch, length, depth, num_left = 6000, 2, 3, 3
    codes, is_masked = all_masked(batch, length, depth)
    is_masked = is_masked.at[:, 0, 0].set(False)  # k = (2, 3) before the step
    _, (_, masks) = mask_predict.fill_with_states(
        batch_keys(batch),
        lambda step_keys, codes, *_: (codes, jnp.zeros(codes.shape)),
        codes,
        is_masked,
        np.array([num_left, 0]),
        order_noise=order.constant(2, 0.0),
        order=order.at_random,
    )
    share = np.bincount(np.asarray(masks[0, :, 0].sum(axis=-1)), minlength=3) / batch
    # C(2, k) C(3, 3 - k) / C(5, 3)
    np.testing.assert_allclose(share, [0.1, 0.6, 0.3], atol=0.025)


def test_without_noise_the_surest_go_first():
    codes, is_masked = all_masked(batch=1)
    confidence = jnp.arange(NUM_TOKENS, dtype=jnp.float32).reshape(1, LENGTH, DEPTH)
    _, (_, masks) = mask_predict.fill_with_states(
        batch_keys(1),
        lambda *_: (codes, confidence),
        codes,
        is_masked,
        np.array([NUM_TOKENS - 6, 0]),
        order_noise=order.constant(2, 0.0),
    )
    # 4 of the 6 surest cells are in the last position, 2 in the one before: there the shallow two
    np.testing.assert_array_equal((~masks[0, 0]).sum(axis=-1), [0, 0, 0, 2, 4])
    np.testing.assert_array_equal(masks[0, 0, 3], [False, False, True, True])


def fill_rows(codes, is_masked, row_keys):
    return mask_predict.fill(
        row_keys,
        table_predict,
        codes,
        is_masked,
        np.array([15, 8, 3, 0]),
        order_noise=order.linear_decay(4, 1.0),
    )


def test_the_split_into_batches_changes_nothing(start):
    whole = fill_rows(*start, batch_keys(BATCH))
    for row in range(BATCH):
        alone = fill_rows(*(x[row : row + 1] for x in start), batch_keys(1, row))
        np.testing.assert_array_equal(alone[0], whole[row])


def test_a_row_does_not_depend_on_another(start):
    codes, is_masked = start
    changed = fill_rows(codes.at[1].set(0), is_masked.at[1].set(True), batch_keys(BATCH))
    whole = fill_rows(codes, is_masked, batch_keys(BATCH))
    np.testing.assert_array_equal(np.asarray(changed)[[0, 2]], np.asarray(whole)[[0, 2]])
    assert (changed[1] != whole[1]).any()


def test_changing_knobs_noise_and_counts_compiles_once(start):
    @jax.jit
    def fill(num_masked, order_noise, knobs):
        return mask_predict.fill(
            batch_keys(BATCH),
            table_predict,
            *start,
            num_masked,
            order_noise=order_noise,
            knobs=knobs,
        )

    fill(np.array([9, 4, 0]), order.constant(3, 1.0), np.float32([1, 1, 1]))
    fill(np.array([8, 2, 0]), order.linear_decay(3, 4.0), np.float32([3, 2, 1]))
    assert fill._cache_size() == 1


def test_knobs_of_the_wrong_length_are_refused(start):
    with pytest.raises(errors.UserError, match=r"knobs\['scale'\] has shape \(2,\)"):
        mask_predict.fill(
            batch_keys(BATCH), table_predict, *start, np.array([4, 2, 0]),
            order_noise=order.constant(3, 1.0), knobs={"scale": np.ones(2, np.float32)},
        )  # fmt: skip


def test_the_loop_sorts_for_the_ranks_and_no_more():
    codes, is_masked = all_masked()
    text = str(jax.make_jaxpr(lambda c, m: fill_rows(c, m, batch_keys(BATCH)))(codes, is_masked))
    assert text.count(" sort[") == 2


def test_padding_is_neither_drawn_nor_counted_and_changes_no_row():
    """Each row as it is alone at its own length, its prompt kept and its padding as it was."""
    lengths, num_steps = [5, 2, 4], 4
    row_keys = batch_keys(3)
    codes = jnp.full((3, LENGTH, DEPTH), -1, jnp.int32).at[:, 0, :2].set(3)
    is_valid = np.arange(LENGTH)[None] < np.array(lengths)[:, None]
    is_masked = jnp.asarray(np.broadcast_to(is_valid[..., None], codes.shape)) & (codes == -1)
    num_tokens = np.asarray(is_masked.sum(axis=(1, 2)))

    def drawn(step_keys, codes, is_masked, knobs):
        """Draws that depend on the row's key and on what is known of its own positions."""
        return table_predict(step_keys, jnp.maximum(codes, 0), is_masked, knobs)

    def fill(rows, length, num_masked):
        return mask_predict.fill(
            row_keys[rows],
            drawn,
            codes[rows, :length],
            is_masked[rows, :length],
            num_masked,
            order_noise=np.ones(num_steps, np.float32),
        )

    schedule = mask_schedules.cosine
    together = fill(
        slice(None),
        LENGTH,
        mask_schedules.num_masked_per_example(schedule, num_steps, num_tokens),
    )
    for row, length in enumerate(lengths):
        alone = fill(
            slice(row, row + 1),
            length,
            mask_schedules.num_masked_per_step(schedule, num_steps, int(num_tokens[row])),
        )
        np.testing.assert_array_equal(together[row, :length], alone[0])
        np.testing.assert_array_equal(together[row, length:], -1)
        np.testing.assert_array_equal(together[row, 0, :2], 3)


def test_a_row_that_meets_what_is_no_number_names_the_step_and_harms_no_other(start):
    codes, is_masked = start

    def predict(step_keys, codes, is_masked, knobs):
        proposal, confidence = table_predict(step_keys, codes, is_masked, None)
        return proposal, confidence.at[1].add(knobs)

    def fill(knobs):
        return np.asarray(
            mask_predict.fill(
                batch_keys(BATCH),
                predict,
                codes,
                is_masked,
                np.array([15, 8, 3, 0]),
                order_noise=order.constant(4, 1.0),
                knobs=np.float32(knobs),
            )
        )

    sound, lost = fill([0, 0, 0, 0]), fill([0, 0, np.nan, np.nan])
    np.testing.assert_array_equal(lost[1], -1 - 2)
    np.testing.assert_array_equal(lost[[0, 2]], sound[[0, 2]])
