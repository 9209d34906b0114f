"""What waits between the passes: by hand, and of real programs by their laws."""

import jax
import jax.numpy as jnp

from resgen_jax.scaling.compile import activations, hlo

FORWARD, BACKWARD = (
    f'metadata={{op_name="jit(f)/{name}/dot"}}' for name in ("jvp()", "transpose(jvp())")
)
# `a` waits until the end, `b` until the middle, `c` is made when `b` is gone, `d` is in the chip's
# own memory, and `e` is read by the forward pass alone; `g`
# is gone when the first element of `b` is taken out.
TEXT = f"""HloModule jit_f, is_scheduled=true

ENTRY %main (x: f32[8]) -> f32[8] {{
  %x = f32[8]{{0}} parameter(0)
  %a = f32[100]{{0}} dot(%x, %x), {FORWARD}
  %b = (f32[10]{{0}}, f32[20]{{0}}) fusion(%x), kind=kLoop, calls=%f, {FORWARD}
  %b.1 = f32[20]{{0}} get-tuple-element(%b), index=1
  %d = f32[1000]{{0:S(1)}} copy(%x), {FORWARD}
  %e = f32[1000]{{0}} dot(%x, %x), {FORWARD}
  %g = f32[50]{{0}} dot(%x, %x), {FORWARD}
  %h = f32[8]{{0}} dot(%g, %x), {BACKWARD}
  %loss = f32[] reduce(%e, %b.1), {FORWARD}
  %b.0 = f32[10]{{0}} get-tuple-element(%b), index=0
  %first = f32[8]{{0}} dot(%b.0, %d), {BACKWARD}
  %c = f32[7]{{0}} dot(%x, %x), {FORWARD}
  %view = f32[10,10]{{1,0}} bitcast(%a)
  %both = (f32[10,10]{{1,0}}, f32[7]{{0}}) tuple(%view, %c)
  %last = f32[8]{{0}} custom-call(%both), {BACKWARD}
  ROOT %out = f32[8]{{0}} add(%first, %last)
}}
"""


def test_the_most_that_waits_at_one_time():
    assert activations.kept_bytes(hlo.parse(TEXT)) == 4 * (100 + 10 + 50)
    larger = TEXT.replace("f32[7]", "f32[177]")
    assert activations.kept_bytes(hlo.parse(larger)) == 4 * (100 + 177)


def of(function, num_rows, num_layers=6):
    arguments = jnp.ones((num_layers, 16, 16)), jnp.ones((num_rows, 16))
    return activations.kept_bytes(
        hlo.parse(jax.jit(function).lower(*arguments).compile().as_text())
    )


def loss(weights, rows):
    def layer(values, weight):
        return jnp.tanh(values @ weight), None

    return jnp.sum(jax.lax.scan(layer, rows, weights)[0])


def test_a_layer_keeps_its_rows():
    few, many = (of(jax.grad(loss), num_rows) for num_rows in (64, 128))
    assert many - few >= 6 * 64 * 16 * 4
    assert few >= 6 * 64 * 16 * 4


def test_a_forward_pass_alone_keeps_nothing():
    assert of(loss, 64) == 0
