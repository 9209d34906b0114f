"""How a step proposes codes: from one head of the network, or from two of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from resgen_jax.core import keys as random_keys
from resgen_jax.distributions import categorical, filters
from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.generators import flow_head
from resgen_jax.nn import functional
from resgen_jax.quantizers import rvq
from resgen_jax.samplers import guidance

PyTree = Any


class Knobs(NamedTuple):
    """What a step reads of the sampler's settings; traced, so new values do not compile anew."""

    guidance_scale: Float[Array | np.ndarray, "*s"]
    temperature: Float[Array | np.ndarray, "*s"]
    top_k: Int[Array | np.ndarray, "*s"]
    top_p: Float[Array | np.ndarray, "*s"]
    noise_scale: Float[Array | np.ndarray, "*s"]


class Branches(NamedTuple):
    """Final hidden states with the condition and without, for heads that are not affine in them."""

    conditional: Float[Array, "b l d"]
    unconditional: Float[Array, "b l d"]
    guidance_scale: Float[Array, ""]

    def guide(
        self, of_states: Callable[..., PyTree], *rows: Shaped[Array, "b ..."]
    ) -> Float[Array, "b ..."]:
        """What a function of states and rows gives, guided; without guidance one call of it."""

        def one():
            return of_states(self.conditional, *rows)

        def both():
            states = guidance.interleave(self.conditional, self.unconditional)
            twice = (guidance.interleave(each, each) for each in rows)
            made = of_states(states, *twice)
            return guidance.guide(*guidance.separate(made), self.guidance_scale)

        return jax.lax.cond(self.guidance_scale == 1, one, both)


class Outputs(NamedTuple):
    """A network's final hidden states, to be read by its heads, and the vectors of its codes.

    `states` are guided, which guides all outputs of heads that are affine in them: the mixture's
    and the code head's. `branches` are the states of either side; None where there is no guidance.
    """

    network: functional.Network
    params: PyTree
    states: Float[Array, "b l d"]
    codebooks: Float[Array, "q v c"]
    branches: Branches | None = None

    def sides(self) -> Branches:
        """The branches; both alike where there is no guidance."""
        return self.branches or Branches(self.states, self.states, jnp.ones(()))

    def mixture(self) -> tuple[mixture.Params, mixture.Basis]:
        """The density of the masked embedding."""
        return self.network.apply(self.params, self.states, method="mixture")

    def code_logits(self) -> Float[Array, "b l q v"]:
        """Logits of the code of every level; minus infinity where a codebook is only filled up."""
        logits = self.network.apply(self.params, self.states, method="code_logits")
        return jnp.where(rvq.is_padding(self.codebooks)[None, None], -jnp.inf, logits)

    def level_nll(
        self, codes: Int[Array, "b l q"], noise: Float[Array, "q b l c"] | None = None
    ) -> Float[Array, "b l q"]:
        """Nats of each code under the level head, given the coarser ones of its position."""
        told = self.states, codes, self.codebooks, noise
        return self.network.apply(self.params, *told, method="level_nll")

    def velocity(
        self, vectors: Float[Array, "b l c"], time: Float[Array, "b l"]
    ) -> Float[Array, "b l c"]:
        """What the flow head says of vectors in units of `flow_head.moments`."""
        return self.network.apply(self.params, self.states, vectors, time, method="velocity")


class Draw(NamedTuple):
    """A code for every masked cell, and the mixture's draw behind them if there was one."""

    codes: Int[Array, "b l q"]
    density: mixture.Params | None = None
    basis: mixture.Basis | None = None
    sample: mixture.Sample | None = None
    # Of each code under what chose it: the quantizer's distances, or the head that drew it.
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
    drawn, log_prob = _draw_codes(keys, outputs.code_logits(), knobs)
    return Draw(jnp.where(is_masked, drawn, codes), log_prob=log_prob)


def from_levels(
    keys: Key[Array, "b"],
    outputs: Outputs,
    codes: Int[Array, "b l q"],
    is_masked: Bool[Array, "b l q"],
    knobs: Knobs,
    quantize: Quantize,
) -> Draw:
    """Level by level from the level head, each code given the coarser ones, known or just drawn.

    Guidance acts on the last features of a level, in which its logits are affine, both sides being
    told the same coarser codes.
    """
    del quantize
    branches = outputs.sides()

    def draw(states, combine, repeat):
        def choose(logits, level):
            known, is_hidden, number = level
            use = jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)
            drawn, log_prob = _draw_codes(use, logits, knobs)
            chosen = jnp.where(is_hidden, drawn, known)
            return repeat(chosen), (chosen, log_prob)

        by_level = jnp.moveaxis(codes, -1, 0), jnp.moveaxis(is_masked, -1, 0)
        inputs = *by_level, jnp.arange(codes.shape[-1])
        told = states, outputs.codebooks, choose, inputs, None, combine
        _, found = outputs.network.apply(outputs.params, *told, method="walk")
        return tuple(jnp.moveaxis(each, 0, -1) for each in found)

    def alone():
        return draw(branches.conditional, lambda features: features, lambda drawn: drawn)

    def guided_by_both():
        return draw(
            guidance.interleave(branches.conditional, branches.unconditional),
            lambda both: guidance.guide(*guidance.separate(both), branches.guidance_scale),
            lambda drawn: guidance.interleave(drawn, drawn),
        )

    found, log_prob = jax.lax.cond(branches.guidance_scale == 1, alone, guided_by_both)
    return Draw(found, log_prob=log_prob)


def from_flow(
    keys: Key[Array, "b"],
    outputs: Outputs,
    codes: Int[Array, "b l q"],
    is_masked: Bool[Array, "b l q"],
    knobs: Knobs,
    quantize: Quantize,
) -> Draw:
    """A vector from noise by the flow head's Euler steps, quantized at its masked levels.

    `noise_scale` multiplies the noise at the start; guidance acts on the velocity.
    """
    mean, deviation = flow_head.moments(is_masked, outputs.codebooks)
    noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:]))(keys)
    branches = outputs.sides()
    told = knobs.noise_scale * noise, branches.guide
    vectors = outputs.network.apply(outputs.params, *told, method="integrate")
    vectors = mean + deviation[..., None] * vectors
    found, _ = quantize(vectors, codes, is_masked, outputs.codebooks, jnp.zeros_like(deviation))
    is_sound = jnp.isfinite(vectors).all(axis=-1, keepdims=True)
    return Draw(jnp.where(is_sound, found, -1))


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
    code, log_prob_of_code = _draw_codes(use["code"], logits, knobs)
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
        log_prob = jnp.where(is_first, log_prob_of_code[..., None], log_prob)
    return Draw(found, density, basis, sample, log_prob)


def _draw_knobs(knobs: Knobs) -> dict[str, Any]:
    """The knobs that the mixture's draw reads."""
    return {name: getattr(knobs, name) for name in ("temperature", "top_k", "top_p", "noise_scale")}


def _draw_codes(keys: Array, logits: Array, knobs: Knobs) -> tuple[Array, Array]:
    """A code for each row of logits, and its log probability before temperature and filters.

    -1 where the logits are not numbers. Entries are many: nothing of their size is made that the
    draw does not need.
    """
    kept = filters.keep(logits, knobs.temperature, knobs.top_k, knobs.top_p)
    drawn = jax.vmap(categorical.sample)(keys, kept)
    total = jax.nn.logsumexp(logits, axis=-1)
    log_prob = jnp.take_along_axis(logits, drawn[..., None], axis=-1)[..., 0] - total
    return jnp.where(jnp.isnan(total), -1, drawn), log_prob


# Named as in `choices.PROPOSALS`, which says what they offer and need.
KINDS: dict[str, Proposal] = {
    "mixture": from_mixture,
    "codes": from_codes,
    "guided": guided,
    "levels": from_levels,
    "flow": from_flow,
}
