"""What sampling costs beside its network calls, and whether it stays flat in depth."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from resgen_jax.core import keys, spaces
from resgen_jax.generators import resgen, resgen_sampler
from resgen_jax.nn import functional, transformer
from resgen_jax.samplers import guidance

SPEC = resgen.Spec(
    num_components=256,
    rank=16,
    trunk=transformer.Spec(
        num_layers=12, width=512, num_heads=8, mlp_width=2048, modulation_width=512, remat="none"
    ),
    has_code_head=False,
)
GUIDANCE_SCALE = 2.0
SAMPLER = resgen_sampler.Spec(num_steps=8, guidance_scale=GUIDANCE_SCALE)


def measure_overhead(
    num_repeats: int = 5, depth: int = 8, batch_size: int = 16, spec: resgen.Spec = SPEC
) -> dict[str, Any]:
    """Time of the whole jitted loop over steps x the time of one guided network call.

    The network call is trunk and mixture head on the doubled batch; the loop adds the draw from
    the mixture, conditional RVQ, the confidence and the choice of positions. Both are timed in
    turn, `num_repeats` times; medians.
    """
    run, network_call = _programs(spec, depth, batch_size)
    loop_seconds, call_seconds = _alternate(num_repeats, run, network_call)
    return {
        "loop_seconds": loop_seconds,
        "network_call_seconds": call_seconds,
        "num_steps": SAMPLER.num_steps,
        "overhead": loop_seconds / (SAMPLER.num_steps * call_seconds),
        "batch_size": batch_size,
        "depth": depth,
        "num_repeats": num_repeats,
    }


def measure_depth_ratio(
    num_repeats: int = 5, depths: tuple[int, int] = (4, 16), batch_size: int = 16
) -> dict[str, Any]:
    """Sampling time at the second depth over that at the first, same network and steps."""
    first, second = (_programs(SPEC, depth, batch_size)[0] for depth in depths)
    first_seconds, second_seconds = _alternate(num_repeats, first, second)
    return {
        "depths": depths,
        "loop_seconds": (first_seconds, second_seconds),
        "ratio": second_seconds / first_seconds,
        "num_steps": SAMPLER.num_steps,
        "batch_size": batch_size,
        "num_repeats": num_repeats,
    }


def _programs(
    spec: resgen.Spec, depth: int, batch_size: int
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The sampling loop and one guided network call, compiled, on random weights and codebooks."""
    space = spaces.image_codes((8, 8), depth, codebook_size=1024, code_dim=64, num_classes=10)
    network = resgen.make(spec, space)
    use = keys.named_keys(jax.random.key(0), "params", "codebooks", "samples")
    params = jax.jit(network.init)(use["params"])
    shape = space.codes.codebooks_shape
    codebooks = jax.random.normal(use["codebooks"], shape) / depth**0.5
    row_keys = keys.example_keys(use["samples"], jnp.arange(batch_size))
    labels = jnp.arange(batch_size) % space.num_classes
    sampler = resgen_sampler.Sampler(network, space, SAMPLER.choices)
    plan = resgen_sampler.plan(SAMPLER, space.num_tokens)
    call = jax.jit(lambda *inputs: _guided_call(network, space, *inputs))
    revealed = jnp.zeros((batch_size, space.max_length, space.codes.code_dim))
    is_masked = jnp.ones((batch_size, space.max_length, space.codes.depth), bool)
    programs = (
        lambda: sampler.sample(params, codebooks, row_keys, labels, plan),
        lambda: call(params, revealed, is_masked, labels),
    )
    for program in programs:
        jax.block_until_ready(program())  # compile
    return programs


def _guided_call(
    network: functional.Network, space: spaces.Space, params, revealed, is_masked, labels
):
    hidden = network.apply(
        params,
        jnp.concatenate([revealed, revealed]),
        jnp.concatenate([is_masked, is_masked]),
        jnp.concatenate([labels, jnp.full_like(labels, space.num_classes)]),
        method="hidden",
    )
    conditional, unconditional = jnp.split(hidden, 2)
    guided = guidance.guide(conditional, unconditional, GUIDANCE_SCALE)
    return network.apply(params, guided, method="mixture")


def _alternate(num_repeats: int, *programs: Callable[[], Any]) -> list[float]:
    """Median seconds of each program, run in turn so that a busy machine slows them alike."""
    seconds: list[list[float]] = [[] for _ in programs]
    for _ in range(num_repeats):
        for program, times in zip(programs, seconds, strict=True):
            started = time.perf_counter()
            jax.block_until_ready(program())
            times.append(time.perf_counter() - started)
    return [statistics.median(times) for times in seconds]
