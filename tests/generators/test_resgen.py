"""Laws of the ResGen network: what it may see, what it must see, and its heads."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors, keys
from resgen_jax.generators import conditioning, resgen
from resgen_jax.nn import functional
from resgen_jax.processes import rvq_masking
from resgen_jax.samplers import guidance


@pytest.fixture(scope="module")
def hidden(tiny):
    """From codes, mask and labels to the final hidden states."""

    def run(codes, is_masked, labels):
        revealed = rvq_masking.revealed_embedding(codes, is_masked, tiny.codebooks)
        return tiny.network.apply(tiny.params, revealed, is_masked, labels, method="hidden")

    return jax.jit(run)


@pytest.fixture(scope="module")
def mixture_of(tiny):
    return jax.jit(lambda states: tiny.network.apply(tiny.params, states, method="mixture"))


@pytest.fixture(scope="module")
def is_masked():
    num_hidden = jnp.array([[0, 1, 2, 3, 3, 1]] * 4)
    return rvq_masking.mask_from_num_hidden(num_hidden, 3)


def test_the_value_of_a_masked_code_never_leaks(tiny, hidden, is_masked):
    base = hidden(tiny.codes, is_masked, tiny.labels)
    moved = (tiny.codes + 1) % 7
    hidden_moved = hidden(jnp.where(is_masked, moved, tiny.codes), is_masked, tiny.labels)
    np.testing.assert_array_equal(hidden_moved, base)
    shown_moved = hidden(jnp.where(is_masked, tiny.codes, moved), is_masked, tiny.labels)
    assert np.all(np.max(np.abs(shown_moved - base), axis=-1) > 1e-4)


def test_which_levels_are_masked_is_told_apart_from_their_values(tiny, is_masked):
    """The same revealed sum with another mask is another input."""
    revealed = rvq_masking.revealed_embedding(tiny.codes, is_masked, tiny.codebooks)
    other = is_masked.at[0, 3, 0].set(False)

    def run(mask):
        return tiny.network.apply(tiny.params, revealed, mask, tiny.labels, method="hidden")

    difference = np.max(np.abs(run(other) - run(is_masked)), axis=(1, 2))
    assert difference[0] > 1e-3
    assert np.all(difference[1:] == 0)


def test_the_label_matters_to_its_own_example(tiny, hidden, is_masked):
    base = hidden(tiny.codes, is_masked, tiny.labels)
    other = hidden(tiny.codes, is_masked, tiny.labels.at[1].set(0))
    difference = np.max(np.abs(other - base), axis=(1, 2))
    assert difference[1] > 1e-3
    assert np.all(difference[[0, 2, 3]] == 0)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [4, 4, 4, 0]])
def test_with_all_labels_dropped_the_output_does_not_depend_on_them(
    tiny, hidden, is_masked, key, labels
):
    row_keys = keys.example_keys(key, jnp.arange(4))
    dropped = conditioning.drop_labels(row_keys, jnp.array(labels), 1.0, tiny.space.num_classes)
    nobody = jnp.full(4, tiny.space.num_classes)
    np.testing.assert_array_equal(dropped, nobody)
    codes = jnp.broadcast_to(tiny.codes[:1], tiny.codes.shape)
    states = hidden(codes, is_masked, dropped)
    np.testing.assert_allclose(states, np.broadcast_to(states[:1], states.shape), atol=1e-5)
    assert np.max(np.abs(hidden(codes, is_masked, jnp.array(labels)) - states)) > 1e-3


def test_labels_are_dropped_at_their_rate_by_their_own_key(key):
    labels = jnp.arange(1000) % 5
    row_keys = keys.example_keys(key, jnp.arange(1000))
    np.testing.assert_array_equal(conditioning.drop_labels(row_keys, labels, 0.0, 5), labels)
    dropped = np.asarray(conditioning.drop_labels(row_keys, labels, 0.3, 5))
    np.testing.assert_array_equal(dropped[dropped != 5], labels[dropped != 5])
    np.testing.assert_allclose(np.mean(dropped == 5), 0.3, atol=0.05)
    half = conditioning.drop_labels(row_keys[500:], labels[500:], 0.3, 5)
    np.testing.assert_array_equal(half, dropped[500:])


def test_mask_vectors_of_all_levels_stand_side_by_side(is_masked, key):
    network = functional.from_module(lambda rngs: conditioning.MaskEmbedding(3, 2, rngs))
    params = network.init(key)
    table, vectors = np.asarray(params["table"]), network.apply(params, is_masked)
    for position in range(6):
        expected = [table[level, int(is_masked[0, position, level])] for level in range(3)]
        np.testing.assert_array_equal(vectors[0, position], np.concatenate(expected))


def test_the_heads_are_dense_layers(tiny, mixture_of):
    states = jnp.asarray(np.random.default_rng(3).normal(size=(2, 6, 8)), jnp.float32)
    params, basis = mixture_of(states)
    head = jax.tree.map(np.asarray, tiny.params["head"])

    def dense(name):
        return np.asarray(states) @ head[name]["kernel"] + head[name]["bias"]

    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(params.component_logits, dense("component_logits"), **close)
    np.testing.assert_allclose(params.factors, dense("factors").reshape(2, 6, 4, 2), **close)
    np.testing.assert_allclose(params.shift, dense("shift"), **close)
    np.testing.assert_allclose(params.log_scale, dense("log_scale")[..., 0], **close)
    np.testing.assert_array_equal(basis.weight, head["weight"])
    np.testing.assert_array_equal(basis.bias, head["bias"])
    logits = tiny.network.apply(tiny.params, states, method="code_logits")
    project = jax.tree.map(np.asarray, tiny.params["codes"]["project"])
    expected = np.asarray(states) @ project["kernel"] + project["bias"]
    np.testing.assert_allclose(logits, expected.reshape(2, 6, 3, 7), **close)


def test_guiding_the_hidden_state_guides_every_output(mixture_of):
    random = np.random.default_rng(3)
    conditional, unconditional = jnp.asarray(random.normal(0, 0.3, (2, 2, 6, 8)), jnp.float32)
    guided, _ = mixture_of(guidance.guide(conditional, unconditional, 2.5))
    (with_label, _), (without, _) = mixture_of(conditional), mixture_of(unconditional)
    assert np.min(guided.log_scale) > -4  # the lower limit is the only thing not affine
    jax.tree.map(
        lambda got, cond, uncond: np.testing.assert_allclose(
            got, uncond + 2.5 * (cond - uncond), rtol=1e-3, atol=1e-4
        ),
        guided,
        with_label,
        without,
    )


def test_the_scale_has_a_lower_limit(tiny):
    spec = dataclasses.replace(tiny.spec, min_log_scale=-0.25)
    network = resgen.make(spec, tiny.space)
    states = jnp.asarray(np.random.default_rng(3).normal(size=(8, 6, 8)), jnp.float32)
    free, _ = tiny.network.apply(tiny.params, states, method="mixture")
    held, _ = network.apply(tiny.params, states, method="mixture")
    assert np.min(free.log_scale) < -0.25 < np.max(free.log_scale)
    np.testing.assert_allclose(
        held.log_scale, np.maximum(np.asarray(free.log_scale), -0.25), atol=1e-6
    )


def test_without_the_code_head_there_are_no_parameters_for_it(tiny):
    network = resgen.make(dataclasses.replace(tiny.spec, has_code_head=False), tiny.space)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    assert set(tiny.params) - set(shapes) == {"codes"}
    assert set(network.axes) == set(shapes)


def test_what_decides_is_exact_in_low_precision(tiny):
    trunk = dataclasses.replace(tiny.spec.trunk, compute_dtype="bfloat16")
    network = resgen.make(dataclasses.replace(tiny.spec, trunk=trunk), tiny.space)
    states = jnp.asarray(np.random.default_rng(3).normal(size=(8, 6, 8)), jnp.float32)
    low, _ = network.apply(tiny.params, states, method="mixture")
    exact, _ = tiny.network.apply(tiny.params, states, method="mixture")
    for name in ("component_logits", "shift", "log_scale"):
        np.testing.assert_allclose(getattr(low, name), getattr(exact, name), rtol=1e-6, atol=1e-6)
    assert np.any(low.factors != exact.factors)


def test_the_output_is_float32_in_low_precision(tiny, is_masked):
    trunk = dataclasses.replace(tiny.spec.trunk, compute_dtype="bfloat16")
    network = resgen.make(dataclasses.replace(tiny.spec, trunk=trunk), tiny.space)

    def run(network):
        revealed = rvq_masking.revealed_embedding(tiny.codes, is_masked, tiny.codebooks)
        states = network.apply(tiny.params, revealed, is_masked, tiny.labels, method="hidden")
        logits = network.apply(tiny.params, states, method="code_logits")
        return network.apply(tiny.params, states, method="mixture")[0], logits

    low, exact = jax.jit(lambda: run(network))(), jax.jit(lambda: run(tiny.network))()

    def check(got, want):
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, want, atol=0.2 * np.std(want))

    jax.tree.map(check, low, exact)


@pytest.mark.parametrize("field", ["num_components", "rank", "mask_dim"])
def test_sizes_below_one_are_refused(tiny, field):
    with pytest.raises(errors.UserError, match=f"{field} is 0; expected at least 1"):
        dataclasses.replace(tiny.spec, **{field: 0})
