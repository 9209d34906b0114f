"""Bytes to and from memory: slices, updates in place and what stays on the chip."""

from resgen_jax.scaling.compile import hbm, hlo

TEXT = """HloModule jit_step, is_scheduled=true

%inner (i.0: f32[5,8], i.1: s32[]) -> f32[8] {
  %i.0 = f32[5,8]{1,0} parameter(0)
  %i.1 = s32[] parameter(1)
  %cut = f32[1,8]{1,0} dynamic-slice(%i.0, %i.1), dynamic_slice_sizes={1,8}
  ROOT %flat = f32[8]{0} bitcast(%cut)
}

%take (t.0: f32[5,8], t.1: s32[], t.2: f32[8]) -> f32[8] {
  %t.0 = f32[5,8]{1,0} parameter(0)
  %t.1 = s32[] parameter(1)
  %t.2 = f32[8]{0} parameter(2)
  %row = f32[8]{0} fusion(%t.0, %t.1), kind=kLoop, calls=%inner
  ROOT %product = f32[8]{0} multiply(%row, %t.2)
}

%put (u.0: f32[5,8], u.1: f32[8], u.2: s32[]) -> f32[5,8] {
  %u.0 = f32[5,8]{1,0} parameter(0)
  %u.1 = f32[8]{0} parameter(1)
  %u.2 = s32[] parameter(2)
  %wide = f32[1,8]{1,0} bitcast(%u.1)
  ROOT %new = f32[5,8]{1,0} dynamic-update-slice(%u.0, %wide, %u.2)
}

ENTRY %main (x: f32[5,8], i: s32[], y: f32[8]) -> f32[5,8] {
  %x = f32[5,8]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %y = f32[8]{0} parameter(2)
  %near = (f32[8]{0:S(1)}, f32[8]{0}, u32[]{:S(2)}) copy-start(%y)
  %z = f32[8]{0:S(1)} copy-done(%near)
  %taken = f32[8]{0} fusion(%x, %i, %z), kind=kLoop, calls=%take
  %whole = f32[8]{0} add(%taken, %y)
  ROOT %out = f32[5,8]{1,0} fusion(%x, %whole, %i), kind=kLoop, calls=%put
}
"""


def moved(name):
    module = hlo.parse(TEXT)
    computation = module.computations["main"]
    return hbm.moved(module, computation, computation[name])


def test_of_a_slice_counts_the_slice_even_in_a_fusion_of_a_fusion():
    # A row of x, the counter, the row written; z lies on the chip.
    assert moved("taken") == 32 + 4 + 32


def test_of_an_update_in_place_counts_the_update():
    assert moved("out") == 32 + 4 + 32


def test_what_is_fetched_ahead_is_read_once():
    assert moved("near") == 32
    assert moved("z") == 0


def test_plain_operations_read_and_write_all():
    assert moved("whole") == 3 * 32


def test_a_program_moves_what_its_instructions_move():
    assert hbm.traffic(hlo.parse(TEXT)) == 68 + 68 + 32 + 96
