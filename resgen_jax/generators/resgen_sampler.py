"""Sampling from ResGen: one jitted program of `num_steps` network calls, whatever the depth."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from resgen_jax.core import build, errors
from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.generators import confidence, interface
from resgen_jax.nn import functional
from resgen_jax.processes import mask_schedules, rvq_masking
from resgen_jax.quantizers import rvq
from resgen_jax.samplers import guidance, mask_predict, order
from resgen_jax.samplers import interface as sampler_interface

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Spec:
    """How to sample; only `num_steps` and `confidence` compile anew when they change."""

    num_steps: int = 8
    mask_schedule: str = "cosine"
    confidence: str = "component"
    order_noise: float = 1.0
    order_noise_decay: str = "linear"
    guidance_scale: float = 1.0
    guidance_schedule: str = "constant"
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    temperature: float = 1.0
    top_p: float = 1.0
    noise_scale: float = 1.0

    def __post_init__(self):
        if self.confidence not in confidence.KINDS:
            hint = build.nearest(self.confidence, confidence.KINDS)
            raise errors.UserError(f"sampler.confidence is {self.confidence!r}; {hint}")
        bounds = {
            "num_steps": (1, np.inf),
            "order_noise": (0, np.inf),
            "guidance_scale": (0, np.inf),
            "temperature": (0, np.inf),
            "top_p": (0, 1),
            "noise_scale": (0, np.inf),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise errors.UserError(
                    f"sampler.{name} is {getattr(self, name)}; expected {low} to {high}"
                )


class Knobs(NamedTuple):
    """What `predict` reads at each step; traced, so new values do not compile anew."""

    guidance_scale: Float[Array | np.ndarray, "*s"]
    temperature: Float[Array | np.ndarray, "*s"]
    top_p: Float[Array | np.ndarray, "*s"]
    noise_scale: Float[Array | np.ndarray, "*s"]


class Plan(NamedTuple):
    """A sampler's spec, worked out step by step; all arrays."""

    num_masked: Int[np.ndarray, "s"]
    order_noise: Float[np.ndarray, "s"]
    knobs: Knobs


def plan(spec: Spec, num_tokens: int) -> Plan:
    """The values of each step, for examples with `num_tokens` masked codes.

    Raises UserError for more steps than tokens, or an unknown schedule.
    """
    schedule = mask_schedules.by_name(spec.mask_schedule)
    scales = guidance.by_name(spec.guidance_schedule)(spec.num_steps, spec.guidance_scale)
    scales = guidance.interval(scales, *spec.guidance_interval)
    decay = order.decay_by_name(spec.order_noise_decay)

    def constant(value: float) -> np.ndarray:
        return np.full(spec.num_steps, value, np.float32)

    return Plan(
        num_masked=mask_schedules.num_masked_per_step(schedule, spec.num_steps, num_tokens),
        order_noise=decay(spec.num_steps, spec.order_noise),
        knobs=Knobs(
            guidance_scale=scales.astype(np.float32),
            temperature=constant(spec.temperature),
            top_p=constant(spec.top_p),
            noise_scale=constant(spec.noise_scale),
        ),
    )


def make_predict(
    network: functional.Network,
    params: PyTree,
    codebooks: Float[Array, "q v c"],
    labels: Int[Array, "b"],
    num_classes: int,
    measure: confidence.Confidence = confidence.by_component,
) -> sampler_interface.Predict:
    """`predict` of the mask-and-predict sampler: network, mixture draw, conditional RVQ.

    The guided network call is made only at steps whose guidance scale is not 1.
    """

    def hidden(revealed, is_masked, labels):
        return network.apply(params, revealed, is_masked, labels, method="hidden")

    def guided(revealed, is_masked, scale):
        both = hidden(
            guidance.interleave(revealed, revealed),
            guidance.interleave(is_masked, is_masked),
            guidance.interleave(labels, jnp.full_like(labels, num_classes)),
        )
        return guidance.guide(*guidance.separate(both), scale)

    def plain(revealed, is_masked, scale):
        del scale
        return hidden(revealed, is_masked, labels)

    def predict(keys, codes, is_masked, knobs):
        revealed = rvq_masking.revealed_embedding(codes, is_masked, codebooks)
        states = jax.lax.cond(
            knobs.guidance_scale == 1, plain, guided, revealed, is_masked, knobs.guidance_scale
        )
        density, basis = network.apply(params, states, method="mixture")
        sample = mixture.sample(
            keys,
            density,
            basis,
            temperature=knobs.temperature,
            top_p=knobs.top_p,
            noise_scale=knobs.noise_scale,
        )
        proposal = rvq.encode_masked(sample.vector, codes, is_masked, codebooks)
        score = measure(density, basis, sample)
        return proposal, jnp.broadcast_to(score[..., None], is_masked.shape)

    return predict


class Sampler:
    """Jitted sampling for one network and code space; compiles once for each number of steps."""

    def __init__(self, network: functional.Network, space: interface.CodeSpace, kind: str):
        self.space = space
        measure, reveal_order = confidence.KINDS[kind]

        def run(fill, params, codebooks, keys, labels, codes, is_masked, plan):
            predict = make_predict(network, params, codebooks, labels, space.num_classes, measure)
            return fill(
                keys,
                predict,
                codes,
                is_masked,
                plan.num_masked,
                order_noise=plan.order_noise,
                knobs=plan.knobs,
                order=reveal_order,
            )

        self._fill = jax.jit(lambda *inputs: run(mask_predict.fill, *inputs))
        self._fill_with_states = jax.jit(
            lambda *inputs: run(mask_predict.fill_with_states, *inputs)
        )

    def sample(
        self,
        params: PyTree,
        codebooks: Float[Array, "q v c"],
        keys: Key[Array, "b"],
        labels: Int[Array, "b"],
        plan: Plan,
    ) -> Int[Array, "b l q"]:
        """Codes of new examples, one key and one label each."""
        start = self._all_masked(len(labels))
        return self._fill(params, codebooks, keys, labels, *start, plan)

    def program(
        self,
        params: PyTree,
        codebooks: jax.ShapeDtypeStruct,
        keys: jax.ShapeDtypeStruct,
        labels: jax.ShapeDtypeStruct,
        plan: PyTree,
    ) -> tuple[Any, tuple]:
        """The jitted function behind `sample` and its arguments, to be compiled or counted.

        All are abstract; the batch lies where the labels do.
        """
        shape = (*labels.shape, self.space.length, self.space.depth)
        start = (
            jax.ShapeDtypeStruct(shape, kind, sharding=labels.sharding)
            for kind in (jnp.int32, jnp.bool_)
        )
        return self._fill, (params, codebooks, keys, labels, *start, plan)

    def sample_with_states(
        self,
        params: PyTree,
        codebooks: Float[Array, "q v c"],
        keys: Key[Array, "b"],
        labels: Int[Array, "b"],
        plan: Plan,
    ) -> tuple[Int[Array, "b l q"], mask_predict.States]:
        """The same codes, with codes and mask after each step."""
        start = self._all_masked(len(labels))
        return self._fill_with_states(params, codebooks, keys, labels, *start, plan)

    def complete(
        self,
        params: PyTree,
        codebooks: Float[Array, "q v c"],
        keys: Key[Array, "b"],
        labels: Int[Array, "b"],
        codes: Int[Array, "b l q"],
        is_masked: Bool[Array, "b l q"],
        plan: Plan,
    ) -> Int[Array, "b l q"]:
        """Codes with only the masked ones filled in; `plan` counts as many as are masked."""
        return self._fill(params, codebooks, keys, labels, codes, is_masked, plan)

    def _all_masked(self, batch_size: int) -> tuple[Array, Array]:
        shape = (batch_size, self.space.length, self.space.depth)
        return jnp.zeros(shape, jnp.int32), jnp.ones(shape, bool)
