"""What sampling costs beside its network calls, and whether it stays flat in depth."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from resgen_jax.core import keys, spaces
from resgen_jax.generators import proposals, resgen, resgen_sampler
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
# What says how sure a head's codes are, without asking another head.
CONFIDENCES = {"mixture": "component", "codes": "drawn", "levels": "drawn", "flow": "random"}


def measure_overhead(
    num_repeats: int = 5,
    depth: int = 8,
    batch_size: int = 16,
    spec: resgen.Spec = SPEC,
    head: str = "mixture",
) -> dict[str, Any]:
    """Time of the whole jitted loop over steps x the time of one guided network call.

    The network call is the trunk on the doubled batch and all matmuls of the head: the level head
    chooses by its largest logit alone, the flow starts from zeros. The loop adds draws, conditional
    RVQ, the confidence and the choice of positions. Both are timed in turn, `num_repeats` times;
    medians.
    """
    run, network_call = _programs(with_head(spec, head), depth, batch_size)
    loop_seconds, call_seconds = _alternate(num_repeats, run, network_call)
    return {
        "loop_seconds": loop_seconds,
        "network_call_seconds": call_seconds,
        "num_steps": SAMPLER.num_steps,
        "overhead": loop_seconds / (SAMPLER.num_steps * call_seconds),
        "head": head,
        "batch_size": batch_size,
        "depth": depth,
        "num_repeats": num_repeats,
    }


def measure_depth_ratio(
    num_repeats: int = 5,
    depths: tuple[int, int] = (4, 16),
    batch_size: int = 16,
    spec: resgen.Spec = SPEC,
    head: str = "mixture",
) -> dict[str, Any]:
    """Sampling time at the second depth over that at the first, same network and steps."""
    spec = with_head(spec, head)
    first, second = (_programs(spec, depth, batch_size)[0] for depth in depths)
    first_seconds, second_seconds = _alternate(num_repeats, first, second)
    return {
        "head": head,
        "depths": depths,
        "loop_seconds": (first_seconds, second_seconds),
        "ratio": second_seconds / first_seconds,
        "num_steps": SAMPLER.num_steps,
        "batch_size": batch_size,
        "num_repeats": num_repeats,
    }


def with_head(spec: resgen.Spec, head: str) -> resgen.Spec:
    """The same trunk with another head."""
    return dataclasses.replace(spec, head=head, has_code_head=head == "codes")


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
    how = dataclasses.replace(SAMPLER, proposal=spec.head, confidence=CONFIDENCES[spec.head])
    sampler = resgen_sampler.Sampler(network, space, how.choices)
    plan = resgen_sampler.plan(how, space.num_tokens)
    call = jax.jit(functools.partial(_guided_call, network, space, HEADS[spec.head]))
    revealed = jnp.zeros((batch_size, space.max_length, space.codes.code_dim))
    is_masked = jnp.ones((batch_size, space.max_length, space.codes.depth), bool)
    programs = (
        lambda: sampler.sample(params, codebooks, row_keys, labels, plan),
        lambda: call(params, codebooks, revealed, is_masked, labels),
    )
    for program in programs:
        jax.block_until_ready(program())  # compile
    return programs


def _alternate(num_repeats: int, *programs: Callable[[], Any]) -> list[float]:
    """Median seconds of each program, run in turn so that a busy machine slows them alike."""
    seconds: list[list[float]] = [[] for _ in programs]
    for _ in range(num_repeats):
        for program, times in zip(programs, seconds, strict=True):
            started = time.perf_counter()
            jax.block_until_ready(program())
            times.append(time.perf_counter() - started)
    return [statistics.median(times) for times in seconds]


def _guided_call(
    network: functional.Network,
    space: spaces.Space,
    head: Callable[[proposals.Outputs, Array], Any],
    params,
    codebooks,
    revealed,
    is_masked,
    labels,
):
    hidden = network.apply(
        params,
        jnp.concatenate([revealed, revealed]),
        jnp.concatenate([is_masked, is_masked]),
        jnp.concatenate([labels, jnp.full_like(labels, space.num_classes)]),
        method="hidden",
    )
    conditional, unconditional = jnp.split(hidden, 2)
    scale = jnp.float32(GUIDANCE_SCALE)
    branches = proposals.Branches(conditional, unconditional, scale)
    states = guidance.guide(conditional, unconditional, scale)
    return head(proposals.Outputs(network, params, states, codebooks, branches), is_masked)


def _walk(outputs: proposals.Outputs, is_masked: Array) -> Any:
    """All levels, each with both sides of guidance; no code is searched for.

    Which of two codes a level gives hangs on its largest logit, so all logits have to be made. The
    likeliest code would cost as much as a draw, and the draws would seem to be free.
    """
    branches = outputs.sides()
    states = guidance.interleave(branches.conditional, branches.unconditional)

    def choose(logits, level):
        codes = (jnp.max(logits, axis=-1) > 0).astype(jnp.int32)
        return guidance.interleave(codes, codes), level

    def combine(features):
        return guidance.guide(*guidance.separate(features), branches.guidance_scale)

    levels = jnp.arange(is_masked.shape[-1])
    told = states, outputs.codebooks, choose, levels, None, combine
    return outputs.network.apply(outputs.params, *told, method="walk")


def _integrate(outputs: proposals.Outputs, is_masked: Array) -> Any:
    noise = jnp.zeros((*is_masked.shape[:2], outputs.codebooks.shape[-1]))
    told = noise, outputs.sides().guide
    return outputs.network.apply(outputs.params, *told, method="integrate")


# The matmuls of each head in a guided call.
HEADS: dict[str, Callable[[proposals.Outputs, Array], Any]] = {
    "mixture": lambda outputs, is_masked: outputs.mixture(),
    "codes": lambda outputs, is_masked: outputs.code_logits(),
    "levels": _walk,
    "flow": _integrate,
}
