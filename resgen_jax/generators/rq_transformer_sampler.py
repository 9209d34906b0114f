"""Sampling from RQ-Transformer: one jitted program that draws the codes one after the other."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from resgen_jax.core import errors, spaces
from resgen_jax.core import keys as random_keys
from resgen_jax.distributions import categorical, filters
from resgen_jax.generators import interface, rq_transformer
from resgen_jax.generators.interface import Known
from resgen_jax.generators.rq_transformer_sampler_spec import Spec
from resgen_jax.nn import functional
from resgen_jax.quantizers import codebook, rvq
from resgen_jax.samplers import guidance

PyTree = Any


class Plan(NamedTuple):
    """A sampler's spec, worked out level by level; all arrays."""

    temperature: Float[np.ndarray, "q"]
    top_k: Int[np.ndarray, "q"]
    top_p: Float[np.ndarray, "q"]
    guidance_scale: Float[np.ndarray, "q"] | None  # None where it is off everywhere


def plan(spec: Spec, depth: int) -> Plan:
    """The values of each of `depth` levels; UserError for a list of another length."""

    def each(name: str, dtype=np.float32) -> np.ndarray:
        value = getattr(spec, name)
        if isinstance(value, tuple) and len(value) != depth:
            raise errors.UserError(
                f"sampler.{name} has {len(value)} entries for depth {depth}; expected one number, "
                "or one for each level"
            )
        return np.broadcast_to(np.asarray(value, dtype), (depth,))

    scales = each("guidance_scale")
    return Plan(
        temperature=each("temperature"),
        top_k=each("top_k", np.int32),
        top_p=each("top_p"),
        guidance_scale=scales if np.any(scales != 1) else None,
    )


class Calls(NamedTuple):
    """How many rows of the network an example has, and what becomes of their logits."""

    rows: Callable[[Array], Array]
    labels: Callable[[Array], Array]
    combine: Callable[[Array, Any], Array]


def _with_guidance(num_classes: int) -> Calls:
    """Two rows: the class, and none."""
    return Calls(
        rows=lambda values: guidance.interleave(values, values),
        labels=lambda labels: guidance.interleave(labels, jnp.full_like(labels, num_classes)),
        combine=lambda logits, scale: guidance.guide(*guidance.separate(logits), scale),
    )


PLAIN = Calls(
    rows=lambda values: values, labels=lambda labels: labels, combine=lambda logits, scale: logits
)


class RqTransformerSampler:
    """Jitted sampling for one network and code space.

    Position by position the body reads the vectors of the last one, level by level the head those
    of the levels above; both keep keys and values of what they have read, so a code costs one place
    of a network and not a whole forward pass. It compiles once, and once more with guidance.
    """

    def __init__(
        self,
        network: functional.Network,
        model: rq_transformer.Spec,
        space: spaces.Space,
    ):
        self.model, self.space = model, space
        dtype = jnp.dtype(model.compute_dtype)

        def run(params, codebooks, keys, labels, known, plan):
            calls = PLAIN
            if plan.guidance_scale is not None:
                calls = _with_guidance(space.num_classes)
            params = _kernels_in(params, dtype)
            caches = rq_transformer.empty_caches(model, space, len(calls.labels(labels)))
            return _fill(network, params, codebooks, keys, labels, known, plan, calls, caches)

        self._run = jax.jit(run)

    def sample(
        self,
        params: PyTree,
        codebooks: Float[Array, "q v c"],
        keys: Key[Array, "b"],
        labels: Int[Array, "b"],
        plan: Plan,
        known: Known | None = None,
    ) -> Int[Array, "b l q"]:
        """Codes, with one key and one label for each example; those of `known` are kept.

        A code is drawn given those before it, known ones among them; what is known further on has
        no say in it. Raises UserError for guidance of a network without a null class.
        """
        self._check(plan)
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
        self._check(plan)
        known = interface.abstract_known(self.space, labels)
        return self._run, (params, codebooks, keys, labels, known, plan)

    def _check(self, plan: Plan) -> None:
        depth = self.space.codes.depth
        if len(plan.temperature) != depth:
            raise errors.UserError(
                f"the plan has {len(plan.temperature)} levels and the codes {depth}; "
                "make it for their depth"
            )
        check_guidance(self.model, plan)


def check_guidance(model: rq_transformer.Spec, plan: Plan) -> None:
    """Raises UserError for guidance of a network without a null class."""
    if plan.guidance_scale is not None and not model.has_null_class:
        raise errors.UserError(
            "sampler.guidance_scale is not 1, but the network has no null class to be guided "
            "away from: set it to 1, or train with model.has_null_class and "
            "loss.condition_drop_rate"
        )


def _fill(
    network: functional.Network,
    params: PyTree,
    codebooks: Float[Array, "q v c"],
    keys: Key[Array, "b"],
    labels: Int[Array, "b"],
    known: Known,
    plan: Plan,
    calls: Calls,
    caches: tuple[PyTree, PyTree],
) -> Int[Array, "b l q"]:
    length, depth = known.codes.shape[1:]
    body_cache, head_cache = caches
    is_padding = rvq.is_padding(codebooks)
    row_labels = calls.labels(labels)

    def position(carry, inputs):
        cache, quantized = carry
        place, codes, is_masked = inputs
        context, cache = network.apply(
            params, calls.rows(quantized), row_labels, cache, place, method="context_step"
        )

        def level(carry, inputs):
            cache, total = carry
            number, known_code, is_hidden, table, is_none, knobs = inputs
            logits, cache = network.apply(
                params, context, calls.rows(total), cache, number, method="logits_step"
            )
            logits = calls.combine(logits, knobs.guidance_scale)
            logits = jnp.where(is_none[None], -jnp.inf, logits)
            drawn = _draw(keys, place * depth + number, logits, knobs)
            found = jnp.where(is_hidden, drawn, known_code)
            return (cache, total + codebook.lookup(found, table)), found

        levels = jnp.arange(depth), codes.T, is_masked.T, codebooks, is_padding, plan
        start = head_cache, jnp.zeros_like(quantized)
        (_, quantized), found = jax.lax.scan(level, start, levels)
        return (cache, quantized), found.T

    by_place = (jnp.swapaxes(each, 0, 1) for each in (known.codes, known.is_masked))
    places = jnp.arange(length), *by_place
    nothing = jnp.zeros((len(labels), codebooks.shape[-1]), codebooks.dtype)
    _, codes = jax.lax.scan(position, (body_cache, nothing), places)
    return jnp.swapaxes(codes, 0, 1)


def _draw(
    keys: Key[Array, "b"], number: Int[Array, ""], logits: Float[Array, "b v"], knobs: Plan
) -> Int[Array, "b"]:
    """The code of this number in the order of drawing, by each example's own key.

    Where the logits are not numbers it is -1 - number, which `interface.check_drawn` reports.
    """
    kept = filters.keep(logits, knobs.temperature, knobs.top_k, knobs.top_p)
    code_keys = jax.vmap(random_keys.step_key, in_axes=(0, None))(keys, number)
    drawn = jax.vmap(categorical.sample)(code_keys, kept)
    return jnp.where(jnp.isnan(logits).any(axis=-1), -1 - number, drawn)


def _kernels_in(params: PyTree, dtype) -> PyTree:
    """Kernels as they are multiplied: rounded once, and not again for every code."""

    def cast(path, leaf):
        is_kernel = jax.tree_util.keystr(path[-1:], simple=True) == "kernel"
        return leaf.astype(dtype) if is_kernel else leaf

    return jax.tree_util.tree_map_with_path(cast, params)
