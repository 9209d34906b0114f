"""Collectives: hand-made texts with known answers, and a program of 8 devices."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from resgen_jax.scaling.compile import collectives, hlo

# What the TPU compiler writes: a loop of 3, in it a reduce-scatter as a fused all-reduce, and an
# all-gather that runs beside two fusions; after it an all-reduce of two arrays.
TEXT = """HloModule jit_step, is_scheduled=true, num_partitions=8

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%all-reduce-scatter.1 (p: bf16[16,4]) -> bf16[4,4] {
  %p = bf16[16,4]{1,0} parameter(0)
  %r = bf16[16,4]{1,0} all-reduce(%p), channel_id=1, \
    replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
  ROOT %cut = bf16[4,4]{1,0} dynamic-slice(%r), dynamic_slice_sizes={4,4}
}

%begin (p.1: f32[2]) -> f32[8] {
  %p.1 = f32[2]{0} parameter(0)
  ROOT %g.1 = f32[8]{0} all-gather(%p.1), channel_id=9, \
    replica_groups=[2,4]<=[8], dimensions={0}, \
    backend_config={"async_collective_fusion_config":{"flag_start":"-1"}}
}

%go_on (p.2: f32[2]) -> f32[8] {
  %p.2 = f32[2]{0} parameter(0)
  ROOT %g.2 = f32[8]{0} all-gather(%p.2), channel_id=9, \
    replica_groups=[2,4]<=[8], dimensions={0}, \
    backend_config={"async_collective_fusion_config":{"flag_start":"2"}}
}

%body (carry.0: (s32[], f32[2])) -> (s32[], f32[2]) {
  %carry.0 = (s32[], f32[2]{0}) parameter(0)
  %x.0 = f32[2]{0} get-tuple-element(%carry.0), index=1
  %f.0 = bf16[4,4]{1,0} fusion(%x.0), kind=kCustom, calls=%all-reduce-scatter.1
  %f.1 = f32[8]{0} fusion(%x.0), kind=kCustom, calls=%begin
  %f.2 = f32[8]{0} fusion(%x.0), kind=kOutput, calls=%go_on
  %turn = s32[] get-tuple-element(%carry.0), index=0
  %one = s32[] constant(1)
  %more = s32[] add(%turn, %one)
  ROOT %next = (s32[], f32[2]{0}) tuple(%more, %x.0)
}

%condition (carry.1: (s32[], f32[2])) -> pred[] {
  %carry.1 = (s32[], f32[2]{0}) parameter(0)
  %counter = s32[] get-tuple-element(%carry.1), index=0
  %bound = s32[] constant(3)
  ROOT %lt = pred[] compare(%counter, %bound), direction=LT
}

ENTRY %main (x: f32[2]) -> f32[2] {
  %x = f32[2]{0} parameter(0)
  %zero = s32[] constant(0)
  %begun = (s32[], f32[2]{0}) tuple(%zero, %x)
  %loop = (s32[], f32[2]{0}) while(%begun), condition=%condition, body=%body
  ROOT %all = (f32[2]{0}, f32[10]{0}) all-reduce(%x, %y), channel_id=3, \
    replica_groups=mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'a'}, to_apply=%add
}
"""


def test_kinds_bytes_groups_and_times():
    found, unknown = collectives.read(hlo.parse(TEXT))
    assert unknown == []
    assert found == [
        collectives.Collective("reduce-scatter", 2 * 64, (0, 1, 2, 3), 3),
        collectives.Collective("all-gather", 4 * 8, (0, 1, 2, 3), 3),
        collectives.Collective("all-reduce", 4 * 12, (0, 1), 1),
    ]


def test_one_that_goes_on_inside_a_loop_counts_where_it_begins():
    begun = "  %zero =", "  %f.3 = f32[8]{0} fusion(%x), kind=kCustom, calls=%begin\n  %zero ="
    found, _ = collectives.read(hlo.parse(TEXT.replace(*begun)))
    gathers = [each for each in found if each.kind == "all-gather"]
    assert gathers == [collectives.Collective("all-gather", 4 * 8, (0, 1, 2, 3), 1)]


def test_a_loop_of_unknown_length_is_told_and_counts_once():
    found, unknown = collectives.read(hlo.parse(TEXT.replace("constant(3)", "copy(%counter)")))
    assert unknown == ["loop"]
    assert {each.times for each in found} == {1}


@pytest.mark.parametrize(
    ("attributes", "group"),
    [
        ("replica_groups={{0,2},{1,3}}", (0, 2)),
        ("replica_groups={}", (0, 1, 2, 3, 4, 5, 6, 7)),
        ("replica_groups=[2,4]<=[8]", (0, 1, 2, 3)),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", (0, 4)),
        ("replica_groups=mesh['a'=2,'b'=4] {'a'}", (0, 4)),
        ("replica_groups=mesh['a'=2,'b'=2,'c'=2] {'a','c'}, x=y", (0, 1, 4, 5)),
        # Places are numbered [4,2], turned to [2,4]: along a they are 0 and 1.
        ("replica_groups=mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'a'}", (0, 1)),
        ("source_target_pairs={{3,4},{4,5}}", (3, 4)),
        ("source_target_pairs={{0,3},{1,0},{2,1},{3,2}}, x={{7,7}}", (1, 0)),
    ],
)
def test_groups_in_all_their_ways(attributes, group):
    assert collectives.group_of(attributes, num_partitions=8) == group


def test_asynchronous_ones_count_once_and_without_their_operands():
    text = TEXT.replace("%all = (f32[2]{0}, f32[10]{0}) all-reduce", "%all = f32[2]{0} copy")
    text = text.replace(
        "  %zero =",
        "  %s = (f32[2]{0}, f32[16]{0}) all-gather-start(%x), channel_id=5, replica_groups={}\n"
        "  %d = f32[16]{0} all-gather-done(%s)\n"
        "  %zero =",
    )
    found, _ = collectives.read(hlo.parse(text))
    assert found[0] == collectives.Collective("all-gather", 64, tuple(range(8)))
    assert len(found) == 3


def test_gradients_of_eight_devices_are_reduced_once_for_each_layer():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    whole, split = (NamedSharding(mesh, spec) for spec in (PartitionSpec(), PartitionSpec("data")))

    def loss(weights, rows):
        def layer(values, weight):
            return jnp.tanh(values @ weight), None

        return jnp.sum(jax.lax.scan(layer, rows, weights)[0])

    gradient = jax.jit(jax.grad(loss), in_shardings=(whole, split), out_shardings=whole)
    text = gradient.lower(jnp.ones((6, 32, 32)), jnp.ones((16, 32))).compile().as_text()
    found, unknown = collectives.read(hlo.parse(text))
    assert unknown == []
    assert {each.kind for each in found} == {"all-reduce"}
    assert {each.group for each in found} == {tuple(range(8))}
    assert sum(each.num_bytes * each.times for each in found) == 4 * 6 * 32 * 32
