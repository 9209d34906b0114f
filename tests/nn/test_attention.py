"""Laws of attention, against a NumPy loop over examples and heads."""

import jax
import jax.numpy as jnp
import numpy as np
import numpy_networks
import pytest

from resgen_jax.nn import attention, dropout, functional

WIDTH, NUM_HEADS, GRID = 16, 2, (2, 3)
TURN = numpy_networks.rotary_angles(GRID, WIDTH // NUM_HEADS, 100.0).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    return functional.from_module(
        lambda rngs: attention.Attention(WIDTH, NUM_HEADS, jnp.float32, rngs)
    )


@pytest.fixture(scope="module")
def params(network):
    # Larger than at the start, so that attention is far from flat.
    return jax.tree.map(lambda leaf: 3 * leaf, network.init(jax.random.key(0)))


@pytest.fixture(scope="module")
def apply(network):
    return jax.jit(network.apply)


@pytest.fixture
def values(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (3, 6, WIDTH))


@pytest.mark.parametrize("angles", [None, TURN], ids=["without", "with"])
def test_attention_equals_the_plain_loop(apply, params, values, angles):
    expected = numpy_networks.attention(
        numpy_networks.double(params), np.asarray(values, np.float64), NUM_HEADS, angles
    )
    np.testing.assert_allclose(apply(params, values, angles), expected, rtol=1e-4, atol=1e-4)


def test_without_positions_a_permutation_goes_through(apply, params, values):
    order = np.array([3, 0, 5, 1, 4, 2])
    np.testing.assert_allclose(
        apply(params, values[:, order], None), apply(params, values, None)[:, order], atol=1e-4
    )


def test_with_positions_it_does_not(apply, params, values):
    order = np.array([3, 0, 5, 1, 4, 2])
    moved = apply(params, values[:, order], TURN) - apply(params, values, TURN)[:, order]
    assert np.max(np.abs(moved)) > 0.1


def test_dropout_needs_a_key_drops_shares_and_keeps_their_mean(values, params):
    def outputs(rate, *dropout_keys):
        network = functional.from_module(
            lambda rngs: attention.Attention(WIDTH, NUM_HEADS, jnp.float32, rngs, rate)
        )
        return jax.jit(network.apply)(params, values, TURN, *dropout_keys)

    row_keys = jax.random.split(jax.random.key(1), len(values))
    plain = outputs(0.0, row_keys)
    np.testing.assert_array_equal(outputs(0.5), plain)
    assert np.any(outputs(0.5, row_keys) != plain)
    query, key, value = np.split(np.random.default_rng(0).normal(size=(9, 6, 2, 4)), 3)
    arrays = [jnp.asarray(array, jnp.float32) for array in (query, key, value)]
    row_keys = jax.random.split(jax.random.key(2), 4000)
    drawn = jax.jit(
        jax.vmap(
            lambda row_key: attention.attend(
                *arrays, drop=lambda share: dropout.dropout(row_key, share, 0.5)
            )
        )
    )(row_keys)
    np.testing.assert_allclose(drawn.mean(0), attention.attend(*arrays), atol=0.06)
    # A query whose keys are all dropped mixes nothing at all: 2 ** -6 of them.
    is_nothing = np.all(np.asarray(drawn) == 0, axis=-1)
    assert is_nothing.mean() == pytest.approx(2**-6, abs=0.002)


def test_examples_do_not_see_each_other_but_positions_do(apply, params, values):
    changed = values.at[1, 4].add(5.0)
    difference = np.abs(apply(params, changed, None) - apply(params, values, None)).max(axis=-1)
    assert np.all(difference[[0, 2]] == 0)
    assert np.all(difference[1] > 1e-3)


def test_attention_is_nearly_flat_at_the_start(network, key):
    # Queries sqrt(head_width) smaller than keys: logits of deviation 1 / sqrt(head_width).
    width, num_heads = 256, 4
    wide = functional.from_module(
        lambda rngs: attention.Attention(width, num_heads, jnp.float32, rngs)
    )
    params = wide.init(key)
    values = jax.random.normal(key, (1, 50, width))
    query, keys = (
        (values @ params[name]["kernel"]).reshape(50, num_heads, -1) for name in ("query", "key")
    )
    logits = jnp.einsum("lak,mak->alm", query, keys) / np.sqrt(width // num_heads)
    np.testing.assert_allclose(jnp.std(logits), 1 / np.sqrt(width // num_heads), rtol=0.1)


def test_kernels_are_split_over_heads(network):
    for name in ("query", "key", "value"):
        assert network.axes[name]["kernel"] == ("embed", "heads")
    assert network.axes["out"]["kernel"] == ("heads", "embed")


@pytest.fixture(scope="module")
def heads():
    """Queries of 5 positions, keys and values of 7, and which may attend to which."""
    random = np.random.default_rng(3)
    query = random.normal(size=(2, 5, 3, 4)).astype(np.float32)
    key, value = random.normal(size=(2, 2, 7, 3, 4)).astype(np.float32)
    may_attend = random.random((2, 5, 7)) < 0.5
    may_attend[..., 0] = True
    may_attend[1, 2] = False
    return query, key, value, may_attend


def test_attention_to_what_may_be_seen_equals_loops(heads):
    query, key, value, may_attend = heads
    found = jax.jit(attention.attend)(*map(jnp.asarray, heads))
    for row, place, head in np.ndindex(2, 5, 3):
        seen = np.flatnonzero(may_attend[row, place])
        weight = np.exp(key[row, seen, head] @ query[row, place, head] / 2)
        expected = weight @ value[row, seen, head] / max(weight.sum(), 1e-9)
        np.testing.assert_allclose(found[row, place, head], expected, atol=1e-5)


def test_a_query_that_may_attend_to_nothing_finds_zeros_and_has_a_finite_gradient(heads):
    query, key, value, _ = map(jnp.asarray, heads)

    def total(arrays):
        return jnp.sum(attention.attend(*arrays, jnp.zeros((2, 5, 7), bool)) ** 2)

    value, gradient = jax.jit(jax.value_and_grad(total))((query, key, value))
    assert value == 0
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, 0), gradient)


def test_nothing_later_reaches_what_is_earlier(heads):
    _, key, value, _ = map(jnp.asarray, heads)
    run = jax.jit(attention.attend)
    base = run(key, key, value, attention.to_earlier(7))
    for place in range(7):
        moved = run(
            key, key.at[:, place].add(1), value.at[:, place].add(1), attention.to_earlier(7)
        )
        is_same = np.all(np.asarray(moved == base), axis=(0, 2, 3))
        np.testing.assert_array_equal(is_same, np.arange(7) < place)


CONTEXT_DIM = 6


@pytest.fixture(scope="module")
def cross():
    """Jitted attention to a context, with parameters of every size."""
    network = functional.from_module(
        lambda rngs: attention.CrossAttention(WIDTH, CONTEXT_DIM, NUM_HEADS, jnp.float32, rngs)
    )
    random = np.random.default_rng(4)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.float32(random.normal(0, 0.5, leaf.shape)), shapes)
    return network, params, jax.jit(network.apply)


@pytest.fixture(scope="module")
def told():
    """Positions, a context, and which of it is real."""
    random = np.random.default_rng(5)
    values = random.normal(size=(2, 3, WIDTH)).astype(np.float32)
    context = random.normal(size=(2, 4, CONTEXT_DIM)).astype(np.float32)
    return values, context, np.array([[1, 1, 0, 1], [0, 1, 0, 0]], bool)


def test_attention_to_a_context_equals_loops(cross, told):
    _, params, apply = cross
    values, context, is_valid = told
    tables = {name: np.float64(params[name]["kernel"]) for name in ("query", "key", "value", "out")}
    width = WIDTH // NUM_HEADS
    mixed = np.zeros(values.shape)
    for row, place, head in np.ndindex(2, 3, NUM_HEADS):
        channels = slice(head * width, (head + 1) * width)
        seen = context[row][is_valid[row]]
        query = values[row, place] @ tables["query"][:, channels]
        weight = np.exp(seen @ tables["key"][:, channels] @ query / np.sqrt(width))
        mixed[row, place, channels] = weight / weight.sum() @ seen @ tables["value"][:, channels]
    np.testing.assert_allclose(apply(params, *told), mixed @ tables["out"], atol=1e-4)


def test_order_and_padding_of_a_context_have_no_influence(cross, told):
    _, params, apply = cross
    values, context, is_valid = told
    base = apply(params, *told)
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(
        apply(params, values, context[:, order], is_valid[:, order]), base, atol=1e-5
    )
    other = np.where(is_valid[..., None], context, 1e3).astype(np.float32)
    np.testing.assert_array_equal(apply(params, values, other, is_valid), base)


def test_attention_to_a_context_begins_as_nothing(cross, told):
    network, _, apply = cross
    start = network.init(jax.random.key(0))
    np.testing.assert_array_equal(apply(start, *told), 0)
    axes = {name: table["kernel"] for name, table in network.axes.items()}
    assert axes["key"] == axes["value"] == (None, "heads")
    assert (axes["query"], axes["out"]) == (("embed", "heads"), ("heads", "embed"))
