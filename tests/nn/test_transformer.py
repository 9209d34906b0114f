"""Laws of the transformer, against a NumPy loop over its layers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpy_networks
import pytest

from resgen_jax.core import errors
from resgen_jax.nn import functional, transformer

GRID, CONDITION_DIM = (2, 3), 5
SPEC = transformer.Spec(
    num_layers=3, width=8, num_heads=2, mlp_width=12, modulation_width=6, remat="none"
)


def make(**changes):
    spec = dataclasses.replace(SPEC, **changes)
    return functional.from_module(
        lambda rngs: transformer.Transformer(spec, GRID, CONDITION_DIM, rngs)
    )


def random_params(network, deviation=0.4):
    """Parameters of every size, gates open."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, deviation, leaf.shape), jnp.float32), shapes
    )


@pytest.fixture(scope="module")
def inputs():
    random = np.random.default_rng(1)
    tokens = jnp.asarray(random.normal(size=(2, 6, 8)), jnp.float32)
    return tokens, jnp.asarray(random.normal(size=(2, 6, CONDITION_DIM)), jnp.float32)


@pytest.fixture(scope="module")
def network():
    return make()


@pytest.fixture(scope="module")
def start(network):
    return jax.jit(network.init)(jax.random.key(0))


@pytest.fixture(scope="module")
def apply(network):
    return jax.jit(network.apply)


@pytest.fixture(scope="module")
def params(network):
    return random_params(network)


@pytest.fixture(scope="module")
def outputs(apply, params, inputs):
    return np.asarray(apply(params, *inputs))


def expected(params, inputs):
    tokens, condition = (np.asarray(array, np.float64) for array in inputs)
    params = numpy_networks.double(params)
    return numpy_networks.transformer(params, tokens, condition, GRID, SPEC.num_heads)


def test_the_scan_over_layers_equals_a_loop(outputs, params, inputs):
    np.testing.assert_allclose(outputs, expected(params, inputs), rtol=1e-3, atol=1e-3)


def test_normalised_queries_gates_and_rms_norms_equal_a_loop(inputs):
    network = make(norm="rms", has_gated_mlp=True, normalises_queries=True, activation="silu")
    params = random_params(network)
    found = jax.jit(network.apply)(params, *inputs)
    wanted = numpy_networks.transformer(
        numpy_networks.double(params),
        *(np.asarray(array, np.float64) for array in inputs),
        GRID,
        SPEC.num_heads,
        norm=numpy_networks.rms_norm,
        activation=numpy_networks.silu,
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)
    # The size of the queries' kernel does not matter any more.
    attention = params["blocks"]["attention"]
    larger = attention | {"query": {"kernel": 5 * attention["query"]["kernel"]}}
    moved = params | {"blocks": params["blocks"] | {"attention": larger}}
    np.testing.assert_allclose(network.apply(moved, *inputs), found, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rotary_base", [0.0, 9.0])
def test_the_base_sets_the_rotary_angles(rotary_base, inputs):
    network = make(rotary_base=rotary_base)
    params = random_params(network)
    outputs = jax.jit(network.apply)(params, *inputs)
    double = [np.asarray(array, np.float64) for array in inputs]
    expected = numpy_networks.transformer(
        numpy_networks.double(params), *double, GRID, SPEC.num_heads, rotary_base
    )
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-3)


def test_closed_gates_hide_the_blocks_at_the_start(apply, start, params, inputs):
    first = apply(start, *inputs)
    placed = np.asarray(inputs[0] + start["positions"][None], np.float64)
    np.testing.assert_allclose(first, numpy_networks.layer_norm(placed), atol=1e-5)
    gates_closed = params["blocks"] | {"offset": start["blocks"]["offset"]}
    np.testing.assert_array_equal(apply(start | {"blocks": gates_closed}, *inputs), first)
    assert np.any(apply(start | {"blocks": params["blocks"]}, *inputs) != first)


def test_a_condition_acts_at_its_own_position_first(apply, params, inputs):
    # With attention's output shut, positions cannot tell each other anything.
    attention = params["blocks"]["attention"]
    shut = {"out": {"kernel": jnp.zeros_like(attention["out"]["kernel"])}}
    params = params | {"blocks": params["blocks"] | {"attention": attention | shut}}
    tokens, condition = inputs
    difference = apply(params, tokens, condition.at[1, 2].add(1.0)) - apply(params, *inputs)
    is_moved = np.any(np.abs(difference) > 1e-6, axis=-1)
    np.testing.assert_array_equal(np.argwhere(is_moved), [[1, 2]])


@pytest.fixture(scope="module")
def plain_gradients(network, params, inputs):
    return loss_and_gradients(network, params, inputs)


def loss_and_gradients(network, params, inputs, keys=None):
    def loss(params):
        return jnp.sum(jnp.sin(network.apply(params, *inputs, keys)))

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.mark.parametrize("remat", ["matmuls", "full"])
def test_remat_changes_no_value_and_no_gradient(remat, params, inputs, plain_gradients):
    value, gradients = loss_and_gradients(make(remat=remat), params, inputs)
    np.testing.assert_allclose(value, plain_gradients[0], rtol=1e-5)
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4),
        gradients,
        plain_gradients[1],
    )


@pytest.mark.parametrize("field", ["dropout_rate", "attention_dropout_rate"])
def test_dropout_needs_a_key(params, inputs, outputs, key, field):
    network = make(**{field: 0.5})
    apply = jax.jit(network.apply)
    np.testing.assert_allclose(apply(params, *inputs), outputs, atol=1e-5)
    keys = jax.random.split(key, len(outputs))
    dropped = apply(params, *inputs, keys)
    assert np.max(np.abs(dropped - outputs)) > 0.1
    np.testing.assert_array_equal(apply(params, *inputs, keys), dropped)
    other = apply(params, *inputs, jax.random.split(jax.random.fold_in(key, 1), len(outputs)))
    assert np.max(np.abs(other - dropped)) > 0.1


def test_remat_draws_the_same_dropout_again(params, inputs, key):
    # A recomputed layer with another mask would give the gradient of another function.
    keys = jax.random.split(key, len(inputs[0]))
    rates = {"dropout_rate": 0.5, "attention_dropout_rate": 0.5}
    plain = loss_and_gradients(make(**rates), params, inputs, keys)
    again = loss_and_gradients(make(**rates, remat="full"), params, inputs, keys)
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4), again, plain
    )


def test_bfloat16_is_close_and_comes_out_in_float32(network, apply, inputs):
    params = random_params(network, deviation=0.2)
    exact = np.asarray(apply(params, *inputs))
    low = jax.jit(make(compute_dtype="bfloat16").apply)(params, *inputs)
    assert low.dtype == jnp.float32
    assert np.any(low != exact)
    # And was not rounded last: hardly a number is one that bfloat16 could hold.
    assert np.mean(low == low.astype(jnp.bfloat16).astype(jnp.float32)) < 0.1
    np.testing.assert_allclose(low, exact, atol=0.05 * np.std(exact))


def test_bfloat16_has_gradients_close_to_the_exact_ones(network, inputs):
    params = random_params(network, deviation=0.2)
    _, exact = loss_and_gradients(network, params, inputs)
    _, low = loss_and_gradients(make(compute_dtype="bfloat16", remat="full"), params, inputs)
    for name in ("query", "key", "value", "out"):
        got, want = (tree["blocks"]["attention"][name]["kernel"] for tree in (low, exact))
        assert got.dtype == jnp.float32
        cosine = jnp.sum(got * want) / jnp.sqrt(jnp.sum(got**2) * jnp.sum(want**2))
        assert cosine > 0.98, name


def test_the_program_does_not_grow_with_the_layers(inputs):
    def size(num_layers):
        network = make(num_layers=num_layers)
        shapes = jax.eval_shape(network.init, jax.random.key(0))
        return len(jax.make_jaxpr(network.apply)(shapes, *inputs).pretty_print().splitlines())

    assert size(2) == size(9)


def test_layers_differ_and_their_axis_is_named(network, start):
    kernel = start["blocks"]["up"]["kernel"]
    assert kernel.shape == (3, 8, 12)
    assert np.all(kernel[0] != kernel[1])
    assert network.axes["blocks"]["up"]["kernel"] == ("layers", "embed", "mlp")
    assert network.axes["blocks"]["offset"] == ("layers", None, "embed")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 9}, "width 9 is not a multiple of num_heads 2; use 8"),
        ({"width": 1}, "width 1 is not a multiple of num_heads 2; use 2"),
        ({"dropout_rate": 1.0}, "dropout_rate 1.0 is outside"),
        ({"attention_dropout_rate": -0.1}, "attention_dropout_rate -0.1 is outside"),
        ({"rotary_base": -1.0}, "rotary_base is -1.0; expected 1 or more, or 0"),
        ({"activation": "gelo"}, "activation is 'gelo'; did you mean 'gelu'"),
        ({"remat": "some"}, "remat is 'some'; "),
        ({"compute_dtype": "bfloat"}, "did you mean 'bfloat16'"),
        ({"num_layers": 0}, "num_layers is 0; expected at least 1"),
        ({"mlp_width": -1}, "mlp_width is -1; expected at least 1"),
        ({"num_heads": 0}, "num_heads is 0; expected at least 1"),
    ],
)
def test_specs_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(errors.UserError, match=message):
        dataclasses.replace(SPEC, **changes)


def test_rotary_positions_need_room_in_a_head():
    with pytest.raises(errors.UserError, match="head width 2 cannot hold"):
        make(num_heads=4).apply(random_params(make()), jnp.zeros((1, 6, 8)), jnp.zeros((1, 6, 5)))


TOLD_DIM = 4


@pytest.fixture(scope="module")
def line():
    """A transformer of a line of 6 that attends to a context, jitted, with random parameters."""
    network = functional.from_module(
        lambda rngs: transformer.Transformer(SPEC, (1, 6), CONDITION_DIM, rngs, TOLD_DIM)
    )

    def apply(params, tokens, condition, is_valid, context):
        return network.apply(params, tokens, condition, None, is_valid, context)

    return network, random_params(network), jax.jit(apply)


@pytest.fixture(scope="module")
def context():
    """Of two rows, with one of four and three of four that are real."""
    values = np.random.default_rng(6).normal(size=(2, 4, TOLD_DIM)).astype(np.float32)
    is_valid = np.array([[0, 1, 0, 0], [1, 1, 0, 1]], bool)
    return transformer.Context(jnp.asarray(values), jnp.asarray(is_valid))


LENGTHS = np.array([6, 4])
IS_VALID = jnp.asarray(np.arange(6)[None] < LENGTHS[:, None])


def test_a_padded_row_gets_what_it_gets_alone_at_its_own_length(line, inputs, context):
    _, params, apply = line
    tokens, condition = inputs
    together = apply(params, tokens, condition, IS_VALID, context)
    for row, length in enumerate(LENGTHS):
        told = context.values[row][context.is_valid[row]][None]
        alone = apply(
            params,
            tokens[row : row + 1, :length],
            condition[row : row + 1, :length],
            None,
            transformer.Context(told, jnp.ones(told.shape[:2], bool)),
        )
        np.testing.assert_allclose(together[row, :length], alone[0], atol=1e-4)


def test_not_even_nan_in_padding_reaches_a_position_or_a_gradient(line, inputs, context):
    _, params, apply = line
    tokens, condition = (jnp.where(IS_VALID[..., None], array, jnp.nan) for array in inputs)
    values = jnp.where(context.is_valid[..., None], context.values, jnp.nan)
    base = apply(params, *inputs, IS_VALID, context)
    found = apply(params, tokens, condition, IS_VALID, context._replace(values=values))
    np.testing.assert_array_equal(found, base)
    assert np.isfinite(found).all()

    def loss(params, tokens, values):
        hidden = apply(params, tokens, condition, IS_VALID, context._replace(values=values))
        return jnp.sum(hidden**2, where=IS_VALID[..., None])

    of_params, of_tokens, of_values = jax.jit(jax.grad(loss, (0, 1, 2)))(params, tokens, values)
    jax.tree.map(lambda leaf: np.testing.assert_equal(np.isfinite(leaf).all(), True), of_params)
    np.testing.assert_array_equal(of_tokens[~IS_VALID], 0)
    np.testing.assert_array_equal(of_values[~context.is_valid], 0)


def test_a_context_is_given_where_it_was_asked_for_alone(line, inputs, context, apply, params):
    network, own, _ = line
    with pytest.raises(errors.UserError, match="context_dim 4 and called with no context"):
        network.apply(own, *inputs)
    with pytest.raises(errors.UserError, match="context_dim None and called with a context"):
        apply(params, *inputs, None, None, context)
    with pytest.raises(errors.UserError, match=r"4 tokens for a grid of \(2, 3\); expected 6"):
        apply(params, *(array[:, :4] for array in inputs))


def test_a_context_begins_as_if_there_were_none(line, inputs, context):
    _, params, apply = line
    still = params | {"blocks": params["blocks"] | {"cross": dict(params["blocks"]["cross"])}}
    kernel = jnp.zeros_like(params["blocks"]["cross"]["out"]["kernel"])
    still["blocks"]["cross"]["out"] = {"kernel": kernel}
    plain = functional.from_module(
        lambda rngs: transformer.Transformer(SPEC, (1, 6), CONDITION_DIM, rngs)
    )
    without = still | {
        "blocks": {name: part for name, part in still["blocks"].items() if name != "cross"}
    }
    np.testing.assert_allclose(
        apply(still, *inputs, None, context), jax.jit(plain.apply)(without, *inputs), atol=1e-5
    )
