"""Fill masked codes in a few rounds of predicting all and keeping the surest.

The loop is one `lax.scan`. Codes known at the start are kept by construction, and every draw comes
from the example's own key and the step, so a row does not depend on the batch around it. A row that
meets a confidence that is not a number comes out as codes of -1 - step, steps counted from 0.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from resgen_jax.core import errors
from resgen_jax.core import keys as random_keys
from resgen_jax.samplers import interface, order, remasking

PyTree = Any
NumMasked = Int[Array | np.ndarray, "s"] | Int[Array | np.ndarray, "s b"]
OrderNoise = Float[Array | np.ndarray, "s"]
# Codes and mask after every step.
States = tuple[Int[Array, "s b l q"], Bool[Array, "s b l q"]]


def fill(
    keys: Key[Array, "b"],
    predict: interface.Predict,
    codes: Int[Array, "b l q"],
    is_masked: Bool[Array, "b l q"],
    num_masked: NumMasked,
    *,
    order_noise: OrderNoise,
    knobs: PyTree = None,
    order: interface.Order = order.by_confidence,
    pick: interface.Pick = order.shallowest,
    remask: remasking.Remask | None = None,
) -> Int[Array, "b l q"]:
    """Codes with the masked cells replaced by `predict`'s proposals over `s` steps.

    `order` scores the cells; `pick` says which masked cells of a position its best ones reveal,
    as the masks were in training. `remask` hides revealed codes again, but never those known at
    the start; as many more are revealed, and the network is called as often.

    `num_masked` cells are left after each step, for all examples or for each (`mask_schedules`
    makes both); it must end in 0. `knobs` has a leading axis of steps; `predict` gets its slices.
    Values may change without compiling again, their number may not.
    """
    rules = order, pick, remask
    codes, _ = _run(keys, predict, codes, is_masked, num_masked, order_noise, knobs, rules, False)
    return codes


def fill_with_states(
    keys: Key[Array, "b"],
    predict: interface.Predict,
    codes: Int[Array, "b l q"],
    is_masked: Bool[Array, "b l q"],
    num_masked: NumMasked,
    *,
    order_noise: OrderNoise,
    knobs: PyTree = None,
    order: interface.Order = order.by_confidence,
    pick: interface.Pick = order.shallowest,
    remask: remasking.Remask | None = None,
) -> tuple[Int[Array, "b l q"], States]:
    """The codes of `fill`, and the codes and mask after each of its steps."""
    rules = order, pick, remask
    found = _run(keys, predict, codes, is_masked, num_masked, order_noise, knobs, rules, True)
    return cast(tuple[Array, States], found)


def reveal(
    score: Float[Array, "b l q"],
    is_masked: Bool[Array, "b l q"],
    num_reveal: Int[Array, "b"],
    pick: interface.Pick = order.shallowest,
) -> Bool[Array, "b l q"]:
    """Cells to reveal: each position gets as many as it has among the highest scores.

    `pick` makes them of the `num_reveal` best masked cells of an example; of equal scores the
    first in order wins.
    """
    return pick(_highest(score, is_masked, num_reveal), is_masked)


def _highest(score: Array, is_masked: Array, num_reveal: Array) -> Array:
    """The `num_reveal` highest masked cells of each example.

    By rank, not by comparing with the last score that is taken: the compiler may compute a score
    twice, rounded differently, and then the last one is not found again.
    """
    # Known cells sort below every masked one, even one whose score is -inf or not a number.
    bounds = jnp.finfo(score.dtype)
    score = jnp.nan_to_num(score, nan=bounds.min, neginf=bounds.min, posinf=bounds.max)
    flat = jnp.where(is_masked, score, -jnp.inf).reshape(score.shape[0], -1)
    best_first = jnp.argsort(-flat, axis=-1, stable=True)
    rank = jnp.argsort(best_first, axis=-1)
    return (rank < num_reveal[:, None]).reshape(score.shape) & is_masked


def _run(
    keys: Array,
    predict: interface.Predict,
    codes: Array,
    is_masked: Array,
    num_masked: NumMasked,
    order_noise: OrderNoise,
    knobs: PyTree,
    rules: tuple[interface.Order, interface.Pick, remasking.Remask | None],
    keep_states: bool,
) -> tuple[Array, States | None]:
    order, pick, remask = rules
    num_remasked = None if remask is None else jnp.asarray(remask.num_remasked, jnp.int32)
    _check_steps(num_masked, order_noise, {"knobs": knobs, "num_remasked": num_remasked})
    is_new = is_masked

    def step(carry, inputs):
        codes, is_masked, surety = carry
        index, num_left, noise, knob, num_hide = inputs
        step_keys = jax.vmap(lambda key: _step_keys(key, index))(keys)
        proposal, confidence = predict(step_keys["predict"], codes, is_masked, knob)
        confidence = confidence.astype(jnp.float32)
        score = order(step_keys["order"], confidence, noise)
        num_more = jnp.sum(is_masked, axis=(1, 2)) - num_left
        if remask is None:
            is_revealed = reveal(score, is_masked, jnp.maximum(num_more, 0), pick)
            is_hidden = jnp.zeros_like(is_masked)
        else:
            may_hide = is_new & ~is_masked
            num_hide = jnp.minimum(num_hide, jnp.sum(may_hide, axis=(1, 2)))
            is_revealed, is_hidden = remask.exchange(
                _highest(score, is_masked, jnp.maximum(num_more + num_hide, 0)),
                _highest(remask.score(step_keys["remask"], surety), may_hide, num_hide),
                is_masked,
                may_hide,
            )
            surety = jnp.where(is_revealed, confidence, surety)
        codes = jnp.where(is_revealed, proposal.astype(codes.dtype), codes)
        is_lost = jnp.any(jnp.isnan(confidence) & is_masked, axis=(1, 2))
        is_masked = (is_masked & ~is_revealed) | is_hidden
        states = (codes, is_masked) if keep_states else None
        return (codes, is_masked, surety), (is_lost, states)

    num_masked = jnp.asarray(num_masked, jnp.int32)
    index = jnp.arange(num_masked.shape[0])
    inputs = (index, num_masked, jnp.asarray(order_noise, jnp.float32), knobs, num_remasked)
    surety = None if remask is None else jnp.zeros(codes.shape, jnp.float32)
    (codes, _, _), (is_lost, states) = jax.lax.scan(step, (codes, is_masked, surety), inputs)
    lost = jnp.where(jnp.any(is_lost, axis=0), -1 - jnp.argmax(is_lost, axis=0), 0)[:, None, None]
    return jnp.where(lost < 0, lost.astype(codes.dtype), codes), states


def _step_keys(key: Array, index: Array) -> dict[str, Array]:
    return random_keys.named_keys(random_keys.step_key(key, index), "predict", "order", "remask")


def _check_steps(num_masked: NumMasked, order_noise: OrderNoise, by_name: PyTree) -> None:
    num_steps = num_masked.shape[0]
    for name, value in [("order_noise", order_noise)] + [
        (path[0].key + jax.tree_util.keystr(path[1:]), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(by_name)
    ]:
        if np.ndim(value) == 0 or np.shape(value)[0] != num_steps:
            raise errors.UserError(
                f"{name} has shape {np.shape(value)}; expected one value for each of the "
                f"{num_steps} steps of num_masked on its first axis"
            )
