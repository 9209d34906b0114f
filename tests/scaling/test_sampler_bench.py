"""The sampler's benchmark runs for every head, and its network call is what the loop calls."""

import pytest

from resgen_jax.generators import flow_head, level_head, resgen
from resgen_jax.nn import transformer
from resgen_jax.scaling import sampler_bench

SPEC = resgen.Spec(
    num_components=2,
    rank=1,
    trunk=transformer.Spec(
        num_layers=1, width=8, num_heads=2, mlp_width=8, modulation_width=4, remat="none"
    ),
    levels=level_head.Spec(width=4, num_blocks=1),
    flow=flow_head.Spec(width=4, num_blocks=1, num_steps=2),
)


@pytest.mark.parametrize("head", sampler_bench.HEADS)
def test_every_head_has_a_network_call_and_a_loop(head):
    found = sampler_bench.measure_overhead(1, depth=2, batch_size=2, spec=SPEC, head=head)
    assert found["head"] == head
    assert found["overhead"] == pytest.approx(
        found["loop_seconds"] / (found["num_steps"] * found["network_call_seconds"])
    )
    assert found["network_call_seconds"] > 0
