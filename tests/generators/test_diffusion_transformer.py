"""SiT's and DiT's network: published sizes and costs, a NumPy copy, what it is told."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpy_diffusion_transformer
import numpy_networks
import pytest

from resgen_jax.core import errors, spaces, trees
from resgen_jax.generators import diffusion_transformer

CLASSES, CHANNELS, LENGTH = 5, 3, 6
SPACE = spaces.Space(spaces.Latents(CHANNELS, 0.0, 1.0), LENGTH, condition=spaces.Class(CLASSES))
SPEC = diffusion_transformer.Spec(num_layers=3, width=8, num_heads=2, remat="none")
LENGTHS = np.array([6, 4])
IS_VALID = jnp.asarray(np.arange(LENGTH)[None] < LENGTHS[:, None])


def imagenet(length, channels=32):
    """The space of latents of ImageNet."""
    return spaces.Space(spaces.Latents(channels, 0.0, 1.0), length, condition=spaces.Class(1000))


def shapes_of(spec, space=SPACE):
    network = diffusion_transformer.make(spec, space)
    return jax.eval_shape(network.init, jax.random.key(0))


def random_params(spec=SPEC, deviation=0.3):
    """Parameters of every size, gates open."""
    random = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, deviation, leaf.shape), jnp.float32),
        shapes_of(spec),
    )


def applied(spec):
    return jax.jit(diffusion_transformer.make(spec, SPACE).apply)


@pytest.fixture(scope="module")
def inputs():
    """States of two rows, their times and their labels."""
    states = np.random.default_rng(1).normal(size=(2, LENGTH, CHANNELS))
    return (
        jnp.asarray(states, jnp.float32),
        jnp.array([0.25, 0.9], jnp.float32),
        jnp.array([3, 0], jnp.int32),
    )


@pytest.fixture(scope="module")
def params():
    return random_params()


@pytest.fixture(scope="module")
def apply():
    return applied(SPEC)


@pytest.fixture(scope="module")
def outputs(apply, params, inputs):
    return np.asarray(apply(params, *inputs))


@pytest.mark.parametrize(
    ("size", "learns_variance", "expected"),
    [
        ("b", False, 130_328_096),
        ("l", False, 457_857_056),
        ("xl", False, 674_853_152),
        ("xl", True, 674_890_048),
    ],
)
def test_a_published_size_has_its_parameters(size, learns_variance, expected):
    spec = diffusion_transformer.preset(size, learns_variance=learns_variance)
    assert trees.num_parameters(shapes_of(spec, imagenet(64))) == expected


def test_heads_are_as_wide_as_published():
    """Attention costs and weighs the same however many heads share a width."""
    widths = {}
    for size in diffusion_transformer.SIZES:
        spec = diffusion_transformer.preset(size)
        widths[size] = spec.width / spec.num_heads
    assert widths == {"s": 64, "b": 64, "sl": 64, "l": 64, "xl": 72}


@pytest.mark.parametrize(
    ("length", "billions"), [(32, 14.565), (64, 29.034), (128, 58.370), (256, 118.626)]
)
def test_the_largest_size_costs_its_multiply_adds(length, billions):
    """Those of linear layers and of attention; SoftVQ-VAE's tokens are 32 channels wide."""
    spec = diffusion_transformer.preset("xl")
    found = diffusion_transformer.forward_flops(spec, imagenet(length)) / 2
    assert round(found / 1e9, 3) == billions


def test_every_large_array_has_an_axis_to_be_spread_over():
    network = diffusion_transformer.make(diffusion_transformer.preset("xl"), imagenet(64))
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    whole = 0

    def see(leaf, names):
        nonlocal whole
        assert len(names) == leaf.ndim
        assert (names[0] == "layers") == (leaf.shape[0] == 28)
        whole += 0 if set(names) - {None, "layers"} else leaf.size

    jax.tree.map(see, shapes, network.axes)
    assert whole == 32  # the biases of the channels


@pytest.mark.parametrize(
    "changes", [{}, {"learns_variance": True, "time_scale": 1000.0, "mlp_ratio": 2}]
)
def test_it_equals_a_numpy_loop(inputs, changes):
    spec = dataclasses.replace(SPEC, **changes)
    params = random_params(spec)
    found = applied(spec)(params, *inputs)
    states, times, labels = (np.asarray(each) for each in inputs)
    wanted = numpy_diffusion_transformer.forward(
        numpy_networks.double(params),
        states.astype(np.float64),
        times.astype(np.float64),
        labels,
        SPEC.num_heads,
        spec.time_scale,
    )
    assert found.dtype == jnp.float32
    assert found.shape == (2, LENGTH, CHANNELS * (1 + spec.learns_variance))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_it_begins_with_zeros_as_its_closed_gates_do(apply, inputs):
    start = diffusion_transformer.make(SPEC, SPACE).init(jax.random.key(0))
    np.testing.assert_array_equal(apply(start, *inputs), 0)
    # Behind an open last layer the blocks are the identity: the states, placed, are all it sees.
    open_end = start | {"final": start["final"] | {"out": {
        "kernel": jnp.ones_like(start["final"]["out"]["kernel"]),
        "bias": start["final"]["out"]["bias"],
    }}}  # fmt: skip
    placed = numpy_networks.dense(
        numpy_networks.double(start["tokens"]), np.asarray(inputs[0], np.float64)
    )
    placed = placed + numpy_diffusion_transformer.positions(LENGTH, SPEC.width)
    seen = numpy_networks.layer_norm(placed).sum(axis=-1, keepdims=True)
    wanted = np.broadcast_to(seen, inputs[0].shape)
    np.testing.assert_allclose(apply(open_end, *inputs), wanted, atol=1e-5)


def test_layers_start_as_published():
    spec = dataclasses.replace(SPEC, width=64, num_layers=2)
    start = diffusion_transformer.make(spec, SPACE).init(jax.random.key(0))
    attention = start["blocks"]["attention"]
    # Xavier: even up to sqrt(6 / (inputs + outputs)); queries, keys and values count as one layer.
    for kernel, sides in (
        (attention["query"]["kernel"], 64 + 3 * 64),
        (attention["value"]["kernel"], 64 + 3 * 64),
        (attention["out"]["kernel"], 64 + 64),
        (start["blocks"]["up"]["kernel"], 64 + 256),
        (start["tokens"]["kernel"], CHANNELS + 64),
    ):
        most = np.sqrt(6 / sides)
        assert 0.95 * most < np.max(np.abs(kernel)) <= most
        np.testing.assert_allclose(np.std(kernel), most / np.sqrt(3), rtol=0.1)
    for normal in (start["time"]["up"]["kernel"], start["time"]["down"]["kernel"]):
        np.testing.assert_allclose(np.std(normal), 0.02, rtol=0.1)
    np.testing.assert_allclose(np.std(start["classes"]["table"]), 0.02, rtol=0.2)
    assert np.all(attention["query"]["kernel"][0] != attention["query"]["kernel"][1])


def test_no_class_is_a_class_of_its_own(apply, params, inputs, outputs):
    states, times, labels = inputs
    nobody = jnp.full_like(labels, CLASSES)
    found = apply(params, states, times, nobody)
    assert np.min(np.max(np.abs(found - outputs), axis=(1, 2))) > 0.01
    # What is told there is the last row of the table, and no other row matters.
    table = params["classes"]["table"]
    other = params | {"classes": {"table": table.at[:CLASSES].add(1.0)}}
    np.testing.assert_array_equal(apply(other, states, times, nobody), found)
    moved = params | {"classes": {"table": table.at[labels].set(table[CLASSES])}}
    np.testing.assert_array_equal(apply(moved, *inputs), found)


def test_it_sees_times_and_the_order_of_positions(apply, params, inputs, outputs):
    states, times, labels = inputs
    moved = apply(params, states, times + 0.05, labels)
    assert np.min(np.max(np.abs(moved - outputs), axis=(1, 2))) > 1e-3
    turned = apply(params, states[:, ::-1], times, labels)[:, ::-1]
    assert np.min(np.max(np.abs(turned - outputs), axis=(1, 2))) > 0.01


def test_a_row_does_not_know_of_the_others(apply, params, inputs, outputs):
    backwards = apply(params, *(each[::-1] for each in inputs))[::-1]
    np.testing.assert_allclose(backwards, outputs, atol=1e-5)


def test_a_padded_row_gets_what_it_gets_alone_at_its_own_length(apply, params, inputs):
    states, times, labels = inputs
    hostile = jnp.where(IS_VALID[..., None], states, jnp.nan)
    together = apply(params, hostile, times, labels, IS_VALID)
    for row, length in enumerate(LENGTHS):
        one = slice(row, row + 1)
        alone = apply(params, states[one, :length], times[one], labels[one])
        np.testing.assert_allclose(together[row, :length], alone[0], atol=1e-5)
    np.testing.assert_array_equal(together[~IS_VALID], 0)


def gradients(spec, params, inputs, is_valid=None):
    def loss(params, states):
        told = diffusion_transformer.make(spec, SPACE).apply(params, states, *inputs[1:], is_valid)
        return jnp.sum(jnp.sin(told))

    return jax.jit(jax.grad(loss, (0, 1)))(params, inputs[0])


def test_a_gradient_reaches_every_parameter_once_gates_are_open(params, inputs):
    of_params, _ = gradients(SPEC, params, inputs)
    for path, leaf in jax.tree_util.tree_leaves_with_path(of_params):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name == "classes/table":
            is_told = np.isin(np.arange(CLASSES + 1), inputs[2])
            np.testing.assert_array_equal(np.any(leaf != 0, axis=1), is_told)
        # A bias of all keys moves all logits of a query alike: softmax does not see it.
        elif name != "blocks/attention/key/bias":
            assert np.max(np.abs(leaf)) > 1e-4, name


def test_nan_in_padding_reaches_no_gradient(params, inputs):
    states = jnp.where(IS_VALID[..., None], inputs[0], jnp.nan)
    of_params, of_states = gradients(SPEC, params, (states, *inputs[1:]), IS_VALID)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(of_params))
    np.testing.assert_array_equal(of_states[~IS_VALID], 0)


def test_remat_changes_no_gradient(params, inputs):
    plain = gradients(SPEC, params, inputs)
    again = gradients(dataclasses.replace(SPEC, remat="full"), params, inputs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), again, plain)


@pytest.mark.parametrize(("remat", "is_there"), [("none", False), ("full", True)])
def test_a_layer_is_computed_again_where_that_is_asked_for(params, inputs, remat, is_there):
    network = diffusion_transformer.make(dataclasses.replace(SPEC, remat=remat), SPACE)
    program = str(jax.make_jaxpr(network.apply)(params, *inputs))
    assert any(name in program for name in ("remat", "checkpoint")) == is_there


def test_bfloat16_is_close_and_comes_out_in_float32(inputs):
    params = random_params(deviation=0.2)
    exact = np.asarray(applied(SPEC)(params, *inputs))
    low = applied(dataclasses.replace(SPEC, compute_dtype="bfloat16"))(params, *inputs)
    assert low.dtype == jnp.float32
    assert np.any(low != exact)
    # And was not rounded last: hardly a number is one that bfloat16 could hold.
    assert np.mean(low == low.astype(jnp.bfloat16).astype(jnp.float32)) < 0.2
    np.testing.assert_allclose(low, exact, atol=0.05 * np.std(exact))


def test_the_program_does_not_grow_with_the_layers(inputs):
    def size(num_layers):
        spec = dataclasses.replace(SPEC, num_layers=num_layers)
        apply = diffusion_transformer.make(spec, SPACE).apply
        program = jax.make_jaxpr(apply)(shapes_of(spec), *inputs)
        return len(program.pretty_print().splitlines())

    assert size(2) == size(9)


def test_the_share_of_the_variance_is_0_to_1_where_it_is_asked_for():
    outputs = jnp.array([[[7.0, 8.0, -1.0, 0.5]]])
    predicted, share = diffusion_transformer.split_variance(outputs)
    np.testing.assert_array_equal(predicted, [[[7, 8]]])
    np.testing.assert_array_equal(share, [[[0, 0.75]]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 9}, "width 9 is not a multiple of num_heads 2; use 8"),
        ({"width": 9, "num_heads": 3}, "width is 9; expected an even one.*use 10"),
        ({"num_layers": 0}, "num_layers is 0; expected at least 1"),
        ({"mlp_ratio": 0}, "mlp_ratio is 0; expected at least 1"),
        ({"time_scale": 0.0}, "time_scale is 0.0; expected a finite number above 0"),
        ({"time_scale": float("inf")}, "time_scale is inf; expected a finite"),
        ({"remat": "ful"}, "remat is 'ful'; did you mean 'full'"),
        ({"compute_dtype": "bfloat"}, "did you mean 'bfloat16'"),
    ],
)
def test_specs_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(errors.UserError, match=message):
        dataclasses.replace(SPEC, **changes)


def test_spaces_and_states_that_it_was_not_made_for_are_refused(params, inputs):
    class_of = {"condition": SPACE.condition}
    grid = spaces.Space(SPACE.item, LENGTH, (2, 3), **class_of)
    for space, message in (
        (grid, r"grid of \(2, 3\), but this network knows positions of a line"),
        (spaces.Space(spaces.Codes(2, 4, 3), LENGTH, **class_of), "codes of depth 2; expected lat"),
        (spaces.Space(SPACE.item, LENGTH), "condition of these data is nothing; expected a class"),
    ):
        with pytest.raises(errors.UserError, match=message):
            diffusion_transformer.make(SPEC, space)
    apply, (states, *told) = diffusion_transformer.make(SPEC, SPACE).apply, inputs
    with pytest.raises(errors.UserError, match="7 positions of 3 channels; expected at most 6 of"):
        apply(params, jnp.zeros((2, 7, 3)), *told)
    with pytest.raises(errors.UserError, match="6 positions of 2 channels; expected at most 6 of"):
        apply(params, states[..., :2], *told)
    with pytest.raises(errors.UserError, match="size 'xxl' is unknown; did you mean 'xl'"):
        diffusion_transformer.preset("xxl")
