"""Sampling from ResGen: one jitted program of `num_steps` network calls, whatever the depth."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from resgen_jax.core import errors, spaces
from resgen_jax.generators import (
    calibration,
    choices,
    confidence,
    interface,
    proposals,
    resgen_predict,
)
from resgen_jax.generators import heads as heads_lib
from resgen_jax.generators.resgen_sampler_spec import Spec
from resgen_jax.nn import functional
from resgen_jax.processes import level_masking, mask_schedules
from resgen_jax.samplers import guidance, mask_predict, order, remasking

PyTree = Any
NumMasked = Int[np.ndarray, "s"] | Int[np.ndarray, "s b"]


class Plan(NamedTuple):
    """A sampler's spec, worked out step by step; all arrays."""

    num_masked: NumMasked
    order_noise: Float[np.ndarray, "s"]
    knobs: proposals.Knobs
    num_remasked: NumMasked | None = None  # None where nothing is hidden again


def plan(spec: Spec, num_tokens: int | Int[np.ndarray, "b"], depth: int | None = None) -> Plan:
    """The values of each step, for examples with `num_tokens` masked codes, all alike or each.

    The depth of the codes is needed where levels are revealed one after the other. Raises UserError
    for more steps than tokens, or an unknown schedule.
    """
    shape_guidance = guidance.by_name(spec.guidance_schedule)
    decay = order.decay_by_name(spec.order_noise_decay)

    def each(value, make=np.full, dtype=np.float32) -> np.ndarray:
        values = value if isinstance(value, tuple) else make(spec.num_steps, value)
        return np.asarray(values, dtype)

    most = np.atleast_1d(num_tokens)
    num_masked, num_remasked = _counts(spec, most, depth)
    scales = guidance.interval(each(spec.guidance_scale, shape_guidance), *spec.guidance_interval)
    longest = np.argmax(most)
    before = np.append(most[longest], num_masked[:-1, longest]) / most[longest]
    scales = guidance.mask_interval(scales, before, *spec.guidance_mask_ratios)
    if not np.ndim(num_tokens):
        num_masked = num_masked[:, 0]
        num_remasked = None if num_remasked is None else num_remasked[:, 0]
    return Plan(
        num_masked=num_masked,
        order_noise=each(spec.order_noise, decay),
        knobs=proposals.Knobs(
            guidance_scale=scales.astype(np.float32),
            temperature=each(spec.temperature),
            top_k=each(spec.top_k, dtype=np.int32),
            top_p=each(spec.top_p),
            noise_scale=each(spec.noise_scale),
        ),
        num_remasked=num_remasked,
    )


def _counts(
    spec: Spec, num_tokens: np.ndarray, depth: int | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """What is masked after each step, "s b", and how many of it are hidden again at the step."""
    schedule = mask_schedules.by_name(spec.mask_schedule)
    if spec.masks == "level_by_level":
        steps = _steps_per_level(spec, num_tokens, depth)
        return level_masking.num_masked_per_example(schedule, steps, num_tokens), None

    def counts(num_steps: int) -> np.ndarray:
        return mask_schedules.num_masked_per_example(schedule, num_steps, num_tokens)

    guidance.check_interval("sampler.remask_interval", *spec.remask_interval)
    if spec.remask not in remasking.KINDS:
        return counts(spec.num_steps), None
    kind = remasking.KINDS[spec.remask]
    is_in = guidance.is_within(spec.num_steps, *spec.remask_interval)
    num_masked = counts(spec.num_steps)  # refused for more steps than tokens, standing ones or not
    if kind.stands_still:
        num_masked = remasking.loop(counts, spec.num_steps, is_in)
    amount = kind.amount(num_masked, num_tokens, spec.remask_rate)
    return num_masked, np.where(is_in[:, None], amount, 0)


def _steps_per_level(spec: Spec, num_tokens: np.ndarray, depth: int | None) -> tuple[int, ...]:
    """As the spec says, or its steps shared out over the levels."""
    depth = depth or len(spec.steps_per_level)
    if not depth:
        raise errors.UserError("the plan of level_by_level has no depth; expected a number")
    length = int(max(num_tokens)) // depth
    steps = spec.steps_per_level or level_masking.share_steps(spec.num_steps, depth, length)
    if len(steps) != depth:
        raise errors.UserError(
            f"sampler.steps_per_level has {len(steps)} entries for depth {depth}; expected one for "
            "each level, or () to share num_steps out"
        )
    return steps


class Sampler:
    """Jitted sampling for one network and code space; compiles once for each number of steps.

    `fill` is one of the loops of `mask_predict`, which says what comes out: codes, or codes and
    the states on the way to them. With the network of a weaker model in `guide`, parameters are
    `interface.Guided`, and guidance leads away from that model and not from no class. Raises
    UserError where `made_of` asks a head that the network has not.
    """

    def __init__(
        self,
        network: functional.Network,
        space: spaces.Space,
        made_of: choices.Choices,
        fill: Any = mask_predict.fill,
        guide: functional.Network | None = None,
    ):
        choices.check_heads(made_of, heads_lib.heads_of(network))
        self.space = space
        propose = proposals.KINDS[made_of.proposal]
        kind = confidence.KINDS[made_of.confidence]
        quantize = kind.quantize(space.codes.num_beams)
        calibrate = calibration.KINDS[made_of.calibration]
        turn = order.TURNS.get(made_of.masks, order.as_scored)

        def run(params, codebooks, keys, labels, known, plan):
            weaker = None
            if guide is not None:
                weaker = resgen_predict.Guide(guide, params.weaker)
                params = params.own
            nothing = calibration.Nothing(network, params, codebooks, space, propose)
            make_order = order.ORDERS[made_of.order]
            by = make_order(keys, space.layout, space.codes.depth)
            remask = None
            if made_of.remask in remasking.KINDS:
                score = remasking.KINDS[made_of.remask].score
                exchange = remasking.EXCHANGES[made_of.masks]
                remask = remasking.Remask(plan.num_remasked, score, exchange)
            return fill(
                keys,
                resgen_predict.make(
                    network,
                    params,
                    codebooks,
                    labels,
                    space.num_classes,
                    propose,
                    quantize,
                    calibrate(kind.measure, nothing),
                    known.is_valid,
                    weaker,
                ),
                known.codes,
                known.is_masked,
                plan.num_masked,
                order_noise=plan.order_noise,
                knobs=plan.knobs,
                order=turn(kind.order if made_of.order == "confidence" else by),
                pick=order.PICKS[made_of.masks],
                remask=remask,
            )

        self._run = jax.jit(run)

    def sample(
        self,
        params: PyTree,
        codebooks: Float[Array, "q v c"],
        keys: Key[Array, "b"],
        labels: Int[Array, "b"],
        plan: Plan,
        known: interface.Known | None = None,
    ) -> Any:
        """What `fill` returns, with one key and one label for each example.

        Without `known` the examples are new; with it only the masked codes are filled in, and
        `plan` counts as many as are masked. Where it has padding, each example gets what it would
        get without.
        """
        if known is None:
            known = interface.nothing_known(self.space, len(labels))
        return self._run(params, codebooks, keys, labels, known, plan)

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
        known = interface.abstract_known(self.space, labels)
        return self._run, (params, codebooks, keys, labels, known, plan)
