"""How a step proposes codes: from the mixture, from the code head, or from both."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from resgen_jax.core import keys as random_keys
from resgen_jax.distributions import filters
from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.nn import functional
from resgen_jax.quantizers import rvq

PyTree = Any


class Knobs(NamedTuple):
    """What a step reads of the sampler's settings; traced, so new values do not compile anew."""

    guidance_scale: Float[Array | np.ndarray, "*s"]
    temperature: Float[Array | np.ndarray, "*s"]
    top_k: Int[Array | np.ndarray, "*s"]
    top_p: Float[Array | np.ndarray, "*s"]
    noise_scale: Float[Array | np.ndarray, "*s"]


class Outputs(NamedTuple):
    """A network's final hidden states, to be read by either head, and the vectors of its codes."""

    network: functional.Network
    params: PyTree
    states: Float[Array, "b l d"]
    codebooks: Float[Array, "q v c"]

    def mixture(self) -> tuple[mixture.Params, mixture.Basis]:
        """The density of the masked embedding."""
        return self.network.apply(self.params, self.states, method="mixture")

    def code_logits(self) -> Float[Array, "b l q v"]:
        """Logits of the code of every level; minus infinity where a codebook is only filled up."""
        logits = self.network.apply(self.params, self.states, method="code_logits")
        return jnp.where(rvq.is_padding(self.codebooks)[None, None], -jnp.inf, logits)


class Draw(NamedTuple):
    """A code for every masked cell, and the mixture's draw behind them if there was one."""

    codes: Int[Array, "b l q"]
    density: mixture.Params | None = None
    basis: mixture.Basis | None = None
    sample: mixture.Sample | None = None
    # Of each code under what chose it: the quantizer's distances, or the code head's first level.
    log_prob: Float[Array, "b l q"] | None = None


# From vectors, codes, mask, codebooks and log scales to codes, and what else is wanted of them.
Quantize = Callable[..., tuple[Int[Array, "b l q"], Float[Array, "b l q"] | None]]
Proposal = Callable[
    [Key[Array, "b"], Outputs, Int[Array, "b l q"], Bool[Array, "b l q"], Knobs, Quantize], Draw
]


def from_mixture(
    keys: Key[Array, "b"],
    outputs: Outputs,
    codes: Int[Array, "b l q"],
    is_masked: Bool[Array, "b l q"],
    knobs: Knobs,
    quantize: Quantize,
) -> Draw:
    """A vector from the mixture at every position, quantized at its masked levels (the paper)."""
    density, basis = outputs.mixture()
    sample = mixture.sample(keys, density, basis, **_draw_knobs(knobs))
    vectors = sample.vector
    found, log_prob = quantize(vectors, codes, is_masked, outputs.codebooks, density.log_scale)
    return Draw(found, density, basis, sample, log_prob)


def from_codes(
    keys: Key[Array, "b"],
    outputs: Outputs,
    codes: Int[Array, "b l q"],
    is_masked: Bool[Array, "b l q"],
    knobs: Knobs,
    quantize: Quantize,
) -> Draw:
    """Every masked level from the code head alone, each by itself: the direct model."""
    del quantize
    drawn = _draw_codes(keys, outputs.code_logits(), knobs)
    return Draw(jnp.where(is_masked, drawn, codes))


def guided(
    keys: Key[Array, "b"],
    outputs: Outputs,
    codes: Int[Array, "b l q"],
    is_masked: Bool[Array, "b l q"],
    knobs: Knobs,
    quantize: Quantize,
) -> Draw:
    """The shallowest masked level from the code head, the rest from the mixture given that code.

    Given a code, the masked embedding is its vector and a Gaussian for the levels below, with the
    mean and variance that their codebooks have: the draw is from the mixture's exact posterior
    under that view. The last level leaves nothing to draw.
    """
    use = jax.vmap(lambda key: random_keys.named_keys(key, "code", "vector"))(keys)
    level = jnp.argmax(is_masked, axis=-1)
    is_first = is_masked & (jnp.cumsum(is_masked, axis=-1) == 1)
    is_rest = is_masked & ~is_first
    logits = jnp.take_along_axis(outputs.code_logits(), level[..., None, None], axis=2)[:, :, 0]
    code = _draw_codes(use["code"], logits, knobs)
    codes = jnp.where(is_first, code[..., None], codes)

    vector = outputs.codebooks[level, code]
    mean, variance = rvq.code_moments(outputs.codebooks)
    share = is_rest.astype(mean.dtype)
    density, basis = outputs.mixture()
    sample = mixture.sample_near(
        use["vector"],
        density,
        basis,
        vector + jnp.einsum("blq,qc->blc", share, mean, precision=mixture.EXACT),
        jnp.einsum("blq,q->bl", share, variance, precision=mixture.EXACT),
        **_draw_knobs(knobs),
    )
    found, log_prob = quantize(
        sample.vector - vector, codes, is_rest, outputs.codebooks, density.log_scale
    )
    if log_prob is not None:
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), code[..., None], axis=-1)
        log_prob = jnp.where(is_first, chosen, log_prob)
    return Draw(found, density, basis, sample, log_prob)


def _draw_knobs(knobs: Knobs) -> dict[str, Any]:
    """The knobs that the mixture's draw reads."""
    return {name: getattr(knobs, name) for name in ("temperature", "top_k", "top_p", "noise_scale")}


def _draw_codes(keys: Array, logits: Array, knobs: Knobs) -> Array:
    kept = filters.keep(logits, knobs.temperature, knobs.top_k, knobs.top_p)
    return jax.vmap(jax.random.categorical)(keys, kept)


# Named as in `choices.PROPOSALS`, which says what they offer and need.
KINDS: dict[str, Proposal] = {"mixture": from_mixture, "codes": from_codes, "guided": guided}
