"""Codebooks learnt by the gradient of the codebook loss, as in VQ-VAE.

The decoder's gradient goes past the codebooks (straight-through), so theirs is that of the
codebook loss alone, and counts and sums of the batch are all it takes.
"""

import typing

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int

from resgen_jax.core import trees
from resgen_jax.quantizers import codebook_averages, kmeans, learner
from resgen_jax.quantizers.learner import Learner, Spec


# Annotated but not checked at construction: a state's tree also holds shardings and shapes.
@typing.no_type_check
class Moments(struct.PyTreeNode):
    """Adam's moving averages of a gradient and of its square, and the steps they have seen."""

    first: Float[Array, "q *n"]
    second: Float[Array, "q *n"]
    num_steps: Int[Array, ""]


@typing.no_type_check
class GradientState(struct.PyTreeNode):
    """Codebooks, decayed counts of their codes, and the moments of their gradients."""

    codebooks: Float[Array, "q v c"]
    counts: Float[Array, "q v"]
    moments: Moments


def codebook_gradient(
    codebooks: Float[Array, "q v c"], batch: codebook_averages.CodebookStats
) -> Float[Array, "q v c"]:
    """Gradient of `losses.quantization.codebook_loss`, added up over the levels.

    A level's loss is the mean square of residual - chosen vector over valid vectors and channels
    (VQ-VAE, equation 3, second term); its gradient at a code is 2 (count e - sum) / (n c).
    """
    num_vectors = jnp.maximum(jnp.sum(batch.counts, axis=-1), 1.0)[:, None, None]
    pull = batch.counts[..., None] * codebooks - batch.sums
    return 2.0 * pull / (num_vectors * codebooks.shape[-1])


def no_moments(params: Float[Array, "q *n"]) -> Moments:
    """The moments before the first step."""
    zeros = jnp.zeros_like(params)
    return Moments(first=zeros, second=zeros, num_steps=jnp.zeros((), jnp.int32))


def descend(
    params: Float[Array, "q *n"],
    gradient: Float[Array, "q *n"],
    moments: Moments,
    learning_rate: float,
) -> tuple[Float[Array, "q *n"], Moments]:
    """One step of Adam."""
    adam = optax.ScaleByAdamState(moments.num_steps, moments.first, moments.second)
    # optax raises floats to integer counts.
    with jax.numpy_dtype_promotion("standard"):
        direction, adam = optax.scale_by_adam().update(gradient, adam)
    moments = Moments(first=adam.mu, second=adam.nu, num_steps=adam.count)
    return params - learning_rate * direction, moments


def gradient_rvq(spec: Spec) -> Learner:
    """RVQ with a codebook per level, learnt by Adam on the codebook loss (VQ-VAE; VAR, taming).

    Dead codes restart as those of `ema`, by counts that decay with `decay`; `smoothing` has no part
    in it.
    """

    def codebooks(state):
        return state.codebooks

    def init(key):
        tables = codebook_averages.random_codebooks(
            key, spec.depth, spec.codebook_size, spec.code_dim
        )
        counts = jnp.ones((spec.depth, spec.codebook_size))
        return GradientState(codebooks=tables, counts=counts, moments=no_moments(tables))

    def start(state, latents, key, is_valid=None):
        del state  # a fresh start: nothing of the random codebooks remains
        stats = kmeans.start(
            key, latents, spec.depth, spec.codebook_size, is_valid, **learner.start_options(spec)
        )
        tables = codebook_averages.codebooks_from(stats, smoothing=0.0)
        return GradientState(codebooks=tables, counts=stats.counts, moments=no_moments(tables))

    def update(state, latents, quantized, key, is_valid=None):
        tables, codes = state.codebooks, quantized.codes
        batch = codebook_averages.statistics(
            latents, codes, tables, is_valid, max_distances=spec.max_distances
        )
        gradient = codebook_gradient(tables, batch)
        moved, moments = descend(tables, gradient, state.moments, spec.learning_rate)
        counts = spec.decay * state.counts + (1.0 - spec.decay) * batch.counts
        state = GradientState(codebooks=moved, counts=counts, moments=moments)
        if spec.restart_threshold == 0.0:
            return state
        rows = codebook_averages.entering_rows(key, latents, codes, tables, is_valid)
        return restart(state, rows, threshold=spec.restart_threshold)

    axes = trees.stand_in(
        GradientState, codebooks=(None, None, None), counts=(None, None), moments=axes_of_moments()
    )
    return Learner(init, start, learner.quantizer(spec, codebooks), update, codebooks, axes)


def restart(
    state: GradientState, candidates: Float[Array, "q v c"], *, threshold: float
) -> GradientState:
    """As `codebook_averages.restart`; the moments of a code that moved begin anew."""
    stats = codebook_averages.stats_of(state.codebooks, state.counts)
    dead = codebook_averages.is_dead(stats, threshold)
    mean = jnp.mean(state.counts, axis=-1, keepdims=True)
    moments = state.moments
    return GradientState(
        codebooks=jnp.where(dead[..., None], candidates, state.codebooks),
        counts=jnp.where(dead, mean, state.counts),
        moments=moments.replace(
            first=jnp.where(dead[..., None], 0.0, moments.first),
            second=jnp.where(dead[..., None], 0.0, moments.second),
        ),
    )


def axes_of_moments() -> Moments:
    """Names for moments of three axes: none is split."""
    whole = (None, None, None)
    return trees.stand_in(Moments, first=whole, second=whole, num_steps=())
