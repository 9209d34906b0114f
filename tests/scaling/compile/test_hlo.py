"""Programs as text: shapes, nested calls, and how often a loop runs."""

import jax
import jax.numpy as jnp
import pytest

from resgen_jax.scaling.compile import hlo

LOOP = """HloModule jit_step, is_scheduled=true, num_partitions=4

%body (carry.0: (s32[], f32[8])) -> (s32[], f32[8]) {
  %carry.0 = (s32[]{:T(128)}, f32[8]{0:T(256)}) parameter(0)
  %turn = s32[]{:T(128)} get-tuple-element(%carry.0), index=0
  %values = f32[8]{0:T(256)} get-tuple-element(%carry.0), index=1
  %stride = s32[]{:T(128)} constant(1)
  %more = s32[]{:T(128)} add(%turn, %stride)
  ROOT %next = (s32[]{:T(128)}, f32[8]{0:T(256)}) tuple(%more, %values)
}

%condition (carry.1: (s32[], f32[8])) -> pred[] {
  %carry.1 = (s32[]{:T(128)}, f32[8]{0:T(256)}) parameter(0)
  %counter = s32[]{:T(128)} get-tuple-element(%carry.1), index=0
  %bound = s32[]{:T(128)} constant(28)
  ROOT %lt = pred[]{:T(512)} compare(%counter, %bound), direction=LT, metadata={op_name="a(b)"}
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8]{0:T(256)} parameter(0)
  %start = s32[]{:T(128)} constant(4)
  %copied = s32[]{:T(128)} copy(%start)
  %begun = (s32[]{:T(128)}, f32[8]{0:T(256)}) tuple(%copied, %x)
  %loop = (s32[], f32[8]{0}) while(%begun), condition=%condition, body=%body
  ROOT %out = f32[8]{0:T(256)} get-tuple-element(%loop), index=1
}
"""


def loop_of(text):
    module = hlo.parse(text)
    computation = module.computations[module.entry]
    return module, computation, computation["loop"]


def test_computations_and_their_instructions_are_found():
    module, computation, loop = loop_of(LOOP)
    assert (module.entry, module.num_partitions) == ("main", 4)
    assert set(module.computations) == {"body", "condition", "main"}
    assert loop.called("body") == ["body"]
    assert computation["begun"].operands == ("copied", "x")
    assert hlo.root_of(computation).name == "out"


def test_branches_of_a_conditional():
    line = "  %c = f32[] conditional(%p, %a, %b), branch_computations={%left.1, %right}"
    each = hlo._instruction(line)
    assert hlo.branches(each) == ["left.1", "right"]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("f32[2,3]{1,0:T(8,128)}", [(24, True)]),
        ("bf16[28,4]{1,0:T(8,128)(2,1)S(1)}", [(224, False)]),
        ("pred[]", [(1, True)]),
        ("(s32[], u8[5]{0}, /*index=2*/token[])", [(4, True), (5, True), (0, True)]),
    ],
)
def test_bytes_and_place_of_a_shape(shape, expected):
    assert [leaf[:2] for leaf in hlo.leaves(shape)] == expected


def test_a_loop_runs_from_its_start_to_its_bound():
    assert hlo.num_iterations(*loop_of(LOOP)) == 24
    assert hlo.num_iterations(*loop_of(LOOP.replace("constant(4)", "constant(0)"))) == 28


def test_a_loop_may_take_several_turns_at_a_time():
    twos = LOOP.replace("constant(1)", "constant(2)")
    assert hlo.num_iterations(*loop_of(twos)) == 12
    assert hlo.num_iterations(*loop_of(twos.replace("constant(4)", "constant(3)"))) == 13
    other = LOOP.replace("add(%turn, %stride)", "multiply(%turn, %stride)")
    assert hlo.num_iterations(*loop_of(other)) is None


def test_what_the_compiler_wrote_down_counts():
    known = LOOP.replace(
        "body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"7"},"x":"y"}'
    )
    assert hlo.num_iterations(*loop_of(known)) == 7


def test_a_loop_that_waits_for_data_has_no_known_length():
    unknown = LOOP.replace("constant(28)", "copy(%counter)")
    assert hlo.num_iterations(*loop_of(unknown)) is None


def test_loops_of_a_real_program_have_their_lengths():
    def outer(values):
        def inner(values, _):
            return jnp.sin(values @ values), None

        def twice(values, _):
            return jax.lax.scan(inner, values, length=11)[0], None

        return jax.lax.scan(twice, values, length=5)[0]

    module = hlo.parse(jax.jit(outer).lower(jnp.ones((4, 4))).compile().as_text())
    lengths = [
        hlo.num_iterations(module, computation, each)
        for computation in module.computations.values()
        for each in computation.values()
        if each.opcode == "while"
    ]
    assert sorted(lengths) == [5, 11]


def test_another_text_is_refused():
    with pytest.raises(ValueError, match="no ENTRY computation"):
        hlo.parse("module @jit_step {\n}\n")
