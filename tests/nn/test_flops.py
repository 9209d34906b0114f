"""Counted operations equal those counted by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from resgen_jax.core import spaces
from resgen_jax.generators import resgen
from resgen_jax.nn import flops, functional, transformer


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def test_a_matmul_is_two_for_each_multiply_add():
    assert flops.count(jnp.matmul, shape(3, 5), shape(5, 7)) == 2 * 3 * 5 * 7


def test_a_batched_contraction_of_two_axes():
    def contract(left, right):
        return jnp.einsum("bxyi,bxyo->bio", left, right)

    assert flops.count(contract, shape(2, 3, 4, 5), shape(2, 3, 4, 6)) == 2 * 2 * (3 * 4) * 5 * 6


def test_exact_float32_takes_a_bfloat16_unit_more_passes():
    def product(precision):
        return lambda left, right: jnp.matmul(left, right, precision=precision)

    once = 2 * 3 * 5 * 7
    for precision, passes in ((None, 1), ("high", 3), ("highest", 6)):
        assert flops.count_passes(product(precision), shape(3, 5), shape(5, 7)) == passes * once
    narrow = [jax.ShapeDtypeStruct(sizes, jnp.bfloat16) for sizes in ((3, 5), (5, 7))]
    assert flops.count_passes(product("highest"), *narrow) == once
    assert flops.count(product("highest"), shape(3, 5), shape(5, 7)) == once


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_is_its_taps_at_every_place(stride):
    def convolve(values, kernel):
        return jax.lax.conv_general_dilated(
            values, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    places = (8 // stride) * (6 // stride)
    count = flops.count(convolve, shape(2, 8, 6, 3), shape(3, 3, 3, 5))
    assert count == 2 * 2 * places * (3 * 3 * 3) * 5


def test_a_convolution_in_groups_sees_its_own_channels():
    def convolve(values, kernel):
        return jax.lax.conv_general_dilated(
            values,
            kernel,
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=2,
        )

    assert flops.count(convolve, shape(1, 4, 4, 6), shape(3, 3, 3, 8)) == 2 * 16 * (9 * 3) * 8


def test_a_scan_counts_as_often_as_it_runs():
    def repeat(values, weights):
        return jax.lax.scan(lambda x, weight: (x @ weight, None), values, weights)

    assert flops.count(repeat, shape(2, 4), shape(9, 4, 4)) == 9 * (2 * 2 * 4 * 4)


def test_a_cond_counts_as_its_dearest_branch():
    def choose(is_wide, values, narrow, wide):
        def through_both(x):
            return x @ wide @ wide.T

        return jax.lax.cond(is_wide, through_both, lambda x: x @ narrow, values)

    arguments = shape(2, 4), shape(4, 4), shape(4, 10)
    count = flops.count(choose, jax.ShapeDtypeStruct((), jnp.bool_), *arguments)
    assert count == 2 * (2 * 2 * 4 * 10)


def test_calls_inside_calls_are_seen():
    inner = jax.jit(jnp.matmul)
    outer = jax.checkpoint(lambda left, right: jnp.tanh(inner(left, right)))
    assert flops.count(jax.vmap(outer), shape(6, 3, 5), shape(6, 5, 7)) == 6 * (2 * 3 * 5 * 7)


def test_recomputation_counts_where_it_happens():
    def loss(weight, values):
        return jnp.sum(jnp.tanh(values @ weight))

    once = 2 * 3 * 4 * 5
    arguments = shape(4, 5), shape(3, 4)
    assert flops.count(jax.grad(loss), *arguments) == 2 * once  # forward, and the weight's gradient
    assert flops.count(jax.grad(jax.checkpoint(loss)), *arguments) == 3 * once


def test_a_while_loop_has_a_count_only_without_matmuls():
    def loop(body):
        return lambda x: jax.lax.while_loop(lambda x: jnp.sum(x) < 1.0, body, x)

    assert flops.count(loop(lambda x: x + 1), shape(4, 4)) == 0
    with pytest.raises(ValueError, match="use a scan"):
        flops.count(loop(lambda x: x @ x), shape(4, 4))


TRUNK = transformer.Spec(
    num_layers=2, width=8, num_heads=2, mlp_width=20, modulation_width=6, remat="none"
)


def of_transformer(num_layers, remat="none"):
    spec = dataclasses.replace(TRUNK, num_layers=num_layers, remat=remat)
    network = functional.from_module(lambda rngs: transformer.Transformer(spec, (2, 3), 5, rngs))
    params = jax.eval_shape(network.init, jax.random.key(0))
    return flops.count(network.apply, params, shape(3, 6, 8), shape(3, 6, 5))


def test_a_transformer_grows_by_the_same_for_every_layer():
    counts = [of_transformer(num_layers) for num_layers in (1, 2, 5)]
    assert counts[2] - counts[1] == 3 * (counts[1] - counts[0])
    # Four projections, two products of attention, two layers of the MLP: per position.
    layer = 2 * 4 * 8 * 8 + 2 * 2 * 6 * 8 + 2 * 2 * 8 * 20
    assert counts[1] - counts[0] == 3 * 6 * layer
    assert of_transformer(2, remat="full") == counts[1]


@pytest.mark.parametrize("with_code_head", [True, False])
def test_resgen_equals_the_count_by_hand(with_code_head):
    space = spaces.image_codes((2, 3), depth=4, codebook_size=16, code_dim=5, num_classes=10)
    spec = resgen.Spec(trunk=TRUNK, num_components=7, rank=3, mask_dim=2)
    width, hidden, num_components, rank, code_dim = 8, 6, 7, 3, 5
    condition = 2 * 4 + width
    modulation = condition * hidden + hidden * 8 * width
    layer = 4 * width**2 + 2 * 6 * width + 2 * width * 20
    head = width * (num_components + num_components * rank + code_dim + 1)
    # <f, W'W f>, <W f, y> and <b, y>; W'W and W'b are made once a batch and do not count.
    density = num_components * (rank**2 + code_dim * rank + code_dim)
    codes = width * 4 * 16 if with_code_head else 0
    per_position = code_dim * width + modulation + 2 * layer + head + density + codes
    counted = resgen.forward_flops(spec, space, with_code_head=with_code_head)
    assert counted == 6 * 2 * per_position
