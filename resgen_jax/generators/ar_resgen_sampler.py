"""Sampling from AR-ResGen: one jitted program, a cached trunk step and a draw a position."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from resgen_jax.core import keys as random_keys
from resgen_jax.core import spaces
from resgen_jax.generators import ar_resgen, confidence, interface, proposals
from resgen_jax.generators.ar_resgen_sampler_spec import Spec
from resgen_jax.generators.interface import Known
from resgen_jax.nn import causal, functional
from resgen_jax.processes import rvq_masking
from resgen_jax.quantizers import rvq
from resgen_jax.samplers import guidance

PyTree = Any


class Plan(NamedTuple):
    """A sampler's spec as arrays, the same for all positions."""

    knobs: proposals.Knobs
    guidance_scale: Float[Array | np.ndarray, ""] | None  # None where it is off


def plan(spec: Spec) -> Plan:
    """The values of a spec; other ones do not compile anew, but for guidance being on or off."""
    scale = np.float32(spec.guidance_scale)
    knobs = proposals.Knobs(
        guidance_scale=np.asarray(scale),
        temperature=np.asarray(spec.temperature, np.float32),
        top_k=np.asarray(spec.top_k, np.int32),
        top_p=np.asarray(spec.top_p, np.float32),
        noise_scale=np.asarray(spec.noise_scale, np.float32),
    )
    return Plan(knobs, None if scale == 1 else np.asarray(scale))


class ArResGenSampler:
    """Jitted sampling for one network and code space.

    The trunk keeps keys and values of the positions it has read, so an example takes as many places
    of a network as it has positions. It compiles once, and once more with guidance.
    """

    def __init__(self, network: functional.Network, model: ar_resgen.Spec, space: spaces.Space):
        self.space = space

        def run(params, codebooks, keys, labels, known, plan):
            return _fill(network, model, space, params, codebooks, keys, labels, known, plan)

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

        A position is drawn given those before it, known ones among them; what is known further on
        has no say in it. A row that meets what is not a number has codes of -1 - position.
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


def _fill(
    network: functional.Network,
    model: ar_resgen.Spec,
    space: spaces.Space,
    params: PyTree,
    codebooks: Float[Array, "q v c"],
    keys: Key[Array, "b"],
    labels: Int[Array, "b"],
    known: Known,
    plan: Plan,
) -> Int[Array, "b l q"]:
    scale, length = plan.guidance_scale, known.codes.shape[1]
    propose = proposals.KINDS[model.head]
    quantize = _the_rest(confidence.codes_alone(space.codes.num_beams))
    row_labels = labels
    if scale is not None:
        row_labels = guidance.interleave(labels, jnp.full_like(labels, space.num_classes))

    def position(carry, inputs):
        cache, before = carry
        place, codes, is_masked = inputs
        rows = before if scale is None else guidance.interleave(before, before)
        states, cache = network.apply(params, rows, row_labels, cache, place, method="step")
        outputs = _outputs(network, params, states[:, None], codebooks, scale)
        place_keys = jax.vmap(random_keys.step_key, in_axes=(0, None))(keys, place)
        told = codes[:, None], is_masked[:, None], plan.knobs, quantize
        drawn = propose(place_keys, outputs, *told).codes[:, 0]
        is_lost = jnp.isnan(outputs.states).any(axis=(1, 2))
        drawn = jnp.where(is_lost[:, None], -1 - place, drawn)
        found = jnp.where(is_masked, drawn, codes).astype(codes.dtype)
        return (cache, rvq.decode(found, codebooks)), found

    cache = causal.empty_cache(model.stack, len(row_labels), length)
    nothing = jnp.zeros((len(labels), codebooks.shape[-1]), codebooks.dtype)
    by_place = (jnp.swapaxes(each, 0, 1) for each in (known.codes, known.is_masked))
    _, codes = jax.lax.scan(position, (cache, nothing), (jnp.arange(length), *by_place))
    return jnp.swapaxes(codes, 0, 1)


def _outputs(
    network: functional.Network,
    params: PyTree,
    states: Float[Array, "rows one d"],
    codebooks: Float[Array, "q v c"],
    scale: Array | None,
) -> proposals.Outputs:
    """What the heads read of one position, guided or not."""
    if scale is None:
        return proposals.Outputs(network, params, states, codebooks)
    sides = guidance.separate(states)
    branches = proposals.Branches(*sides, scale)
    return proposals.Outputs(network, params, guidance.guide(*sides, scale), codebooks, branches)


def _the_rest(quantize: proposals.Quantize) -> proposals.Quantize:
    """Of a vector that stands for the whole stack, what its known codes leave is quantized."""

    def rest(
        vectors: Float[Array, "b l c"],
        codes: Int[Array, "b l q"],
        is_masked: Bool[Array, "b l q"],
        codebooks: Float[Array, "q v c"],
        log_scale: Float[Array, "b l"],
    ):
        known = rvq_masking.revealed_embedding(codes, is_masked, codebooks)
        return quantize(vectors - known, codes, is_masked, codebooks, log_scale)

    return rest
