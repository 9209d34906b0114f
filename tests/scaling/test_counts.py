"""Counts by module: by hand, against the total, and against what the compiler counts itself."""

import jax
import jax.numpy as jnp
import pytest

from resgen_jax.core import spaces, trees
from resgen_jax.generators import resgen
from resgen_jax.nn import flops, transformer
from resgen_jax.scaling import counts
from resgen_jax.tokenizers import rq_vae

SPACE = spaces.image_codes((4, 4), depth=4, codebook_size=256, code_dim=64, num_classes=10)
TRUNK = transformer.Spec(
    num_layers=3, width=256, num_heads=4, mlp_width=1024, modulation_width=256, remat="none"
)
SPEC = resgen.Spec(trunk=TRUNK, num_components=32, rank=8)
BATCH = 16


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def program(batch_size):
    return resgen.forward_program(SPEC, SPACE, batch_size, with_code_head=True)


def rows(depth=3):
    return {row["module"]: row for row in counts.by_module(program, depth)}


def test_a_matmul_belongs_to_its_parameter_cast_and_turned_or_not():
    def forward(params, values):
        values = values @ params["first"].T.astype(jnp.float32)
        return values @ values.T + values @ (2.0 * params["second"]) @ values.T

    params = {"first": shape(6, 4), "second": shape(6, 6)}
    found = counts.by_parameter(forward, params, shape(3, 4))
    between = 2 * 3 * 3 * 6
    assert found == {
        "first": 2 * 3 * 4 * 6,
        "second": 2 * 3 * 6 * 6,
        counts.ACTIVATIONS: 2 * between,
    }


def test_a_carry_that_begins_as_a_constant_becomes_data():
    def forward(params, values):
        def step(carry, weight):
            return carry @ weight + values, carry @ carry.T

        return jax.lax.scan(step, jnp.zeros((3, 3)), params["weights"])

    found = counts.by_parameter(forward, {"weights": shape(5, 3, 3)}, shape(3, 3))
    assert found == {"weights": 5 * 54, counts.ACTIVATIONS: 5 * 54}


def test_branches_and_nested_calls_keep_their_owners():
    def forward(params, is_first, values):
        inner = jax.jit(lambda weight, x: jax.checkpoint(jnp.matmul)(x, weight))
        return jax.lax.cond(is_first, lambda x: inner(params["weight"], x), lambda x: x, values)

    found = counts.by_parameter(
        forward, {"weight": shape(4, 4)}, jax.ShapeDtypeStruct((), jnp.bool_), shape(3, 4)
    )
    assert found == {"weight": 2 * 3 * 4 * 4}


def test_rows_add_up_to_the_whole_model():
    total = resgen.forward_flops(SPEC, SPACE, with_code_head=True)
    params = program(1)[1][0]
    for depth in (1, 3):
        found = rows(depth).values()
        assert sum(row["forward_flops_per_example"] for row in found) == total
        assert sum(row["parameters"] for row in found) == trees.num_parameters(params)


def test_rows_of_the_tokenizer_add_up_too():
    spec = rq_vae.Spec(image_size=16, width=8, multipliers=(1, 2), code_dim=8)
    found = counts.by_module(lambda batch_size: rq_vae.forward_program(spec, batch_size))
    total = sum(row["forward_flops_per_example"] for row in found)
    assert total == rq_vae.forward_flops(spec)


def compiled(method, *arguments):
    network = resgen.make(SPEC, SPACE)
    params = program(1)[1][0]
    return jax.jit(lambda p, *a: network.apply(p, *a, method=method)).lower(params, *arguments)


def of_compiler(method, *arguments):
    """XLA's own count: elementwise operations too, and the body of a scan once."""
    return compiled(method, *arguments).compile().cost_analysis()["flops"]


def test_heads_agree_with_the_compiler():
    hidden = shape(BATCH, SPACE.max_length, TRUNK.width)
    found = rows()
    assert of_compiler("code_logits", hidden) == pytest.approx(
        BATCH * found["codes/project"]["forward_flops_per_example"], rel=0.02
    )
    head = sum(
        found[f"head/{name}"]["forward_flops_per_example"]
        for name in ("component_logits", "factors", "shift", "log_scale")
    )
    assert of_compiler("mixture", hidden) == pytest.approx(BATCH * head, rel=0.02)


def test_the_trunk_agrees_with_the_compiler_once_its_layers_are_multiplied():
    cell = (BATCH, SPACE.max_length)
    arguments = (
        shape(*cell, SPACE.codes.code_dim),
        jax.ShapeDtypeStruct((*cell, SPACE.codes.depth), jnp.bool_),
        jax.ShapeDtypeStruct((BATCH,), jnp.int32),
    )
    by_module = {name: BATCH * row["forward_flops_per_example"] for name, row in rows(2).items()}
    network = resgen.make(SPEC, SPACE)
    attention = flops.count(
        lambda p, *a: network.apply(p, *a, method="hidden"), program(1)[1][0], *arguments
    ) - sum(by_module[name] for name in ("trunk/blocks", "trunk/modulation", "tokens"))
    per_layer = (by_module["trunk/blocks"] + attention) / TRUNK.num_layers
    once = by_module["tokens"] + by_module["trunk/modulation"]
    found = of_compiler("hidden", *arguments)
    # The scan's body counts once; what is elementwise comes on top.
    assert found == pytest.approx(once + per_layer, rel=0.05)


def test_parameters_are_the_bytes_that_the_compiler_takes_in():
    def leaves(params):
        return jax.tree.map(lambda leaf: 2 * leaf, params)

    params = program(1)[1][0]
    memory = jax.jit(leaves).lower(params).compile().memory_analysis()
    assert memory.argument_size_in_bytes == 4 * sum(row["parameters"] for row in rows().values())
