"""How SimVQ learns at every level: the map of its codebook is fitted, then follows a gradient."""

import typing

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from resgen_jax.core import keys, trees
from resgen_jax.quantizers import codebook, codebook_averages, gradient_learning, learner, sim_vq
from resgen_jax.quantizers.learner import Learner, Spec

# Of the squares that are solved for, as a share of their mean: where codes in use span fewer
# directions than the map has, it stays as it was in the others.
RIDGE = 1e-6


# Annotated but not checked at construction: a state's tree also holds shardings and shapes.
@typing.no_type_check
class SimVqState(struct.PyTreeNode):
    """Vectors that never change, their map to the codebook of each level, and its moments."""

    frozen: Float[Array, "q v d"]
    kernels: Float[Array, "q d c"]
    moments: gradient_learning.Moments


def sim_rvq(spec: Spec) -> Learner:
    """RVQ by SimVQ: of each level only a linear map of its codebook learns, by Adam.

    No code can be left behind, for all move together: `decay`, `restart_threshold` and `smoothing`
    have no part in it. The start fits the maps, with the vectors as they are.
    """

    def codebooks(state):
        params = {"frozen": state.frozen, "map": {"kernel": state.kernels}}
        return jax.vmap(sim_vq.codebook)(params)

    def init(key):
        level_keys = jax.vmap(keys.step_key, in_axes=(None, 0))(key, jnp.arange(spec.depth))
        params = jax.vmap(lambda one: sim_vq.init(one, spec.codebook_size, spec.code_dim))(
            level_keys
        )
        kernels = params["map"]["kernel"]
        return SimVqState(
            frozen=params["frozen"], kernels=kernels, moments=gradient_learning.no_moments(kernels)
        )

    def start(state, latents, key, is_valid=None):
        del key  # nothing random in it
        kernels = fit_maps(
            state.frozen, state.kernels, latents, is_valid, **learner.start_options(spec)
        )
        return state.replace(kernels=kernels, moments=gradient_learning.no_moments(kernels))

    def update(state, latents, quantized, key, is_valid=None):
        del key
        tables, to_kernels = jax.vjp(
            lambda kernels: codebooks(state.replace(kernels=kernels)), state.kernels
        )
        batch = codebook_averages.statistics(
            latents, quantized.codes, tables, is_valid, max_distances=spec.max_distances
        )
        (gradient,) = to_kernels(gradient_learning.codebook_gradient(tables, batch))
        kernels, moments = gradient_learning.descend(
            state.kernels, gradient, state.moments, spec.learning_rate
        )
        return state.replace(kernels=kernels, moments=moments)

    axes = trees.stand_in(
        SimVqState,
        frozen=(None, None, None),
        kernels=(None, None, None),
        moments=gradient_learning.axes_of_moments(),
    )
    return Learner(init, start, learner.quantizer(spec, codebooks), update, codebooks, axes)


def fit_maps(
    frozen: Float[Array, "q v d"],
    kernels: Float[Array, "q d c"],
    latents: Float[Array, "*n c"],
    is_valid: Bool[Array, "*n"] | None = None,
    *,
    num_iterations: int,
    max_distances: int,
) -> Float[Array, "q d c"]:
    """Maps fitted level by level to what enters it: Lloyd's iterations with a map for the means.

    From the given maps, stretched to the length of the vectors; the least squares of each iteration
    are exact.
    """
    rows = jax.lax.stop_gradient(latents).reshape(-1, latents.shape[-1]).astype(jnp.float32)
    is_row = jnp.ones(len(rows), bool) if is_valid is None else is_valid.reshape(-1)
    weights = is_row.astype(jnp.float32)

    def level(residual, inputs):
        vectors, kernel = inputs

        def nearest(kernel):
            table = jnp.einsum("vd,dc->vc", vectors, kernel, precision=codebook.PRECISION)
            return codebook.nearest_code(residual, table, max_distances=max_distances), table

        def iteration(kernel, _):
            codes, table = nearest(kernel)
            counts, sums = codebook.sum_by_code(
                residual, codes, weights, len(table), max_distances=max_distances
            )
            return kernel + _least_squares(vectors, counts, sums - counts[:, None] * table), None

        _, table = nearest(kernel)
        square = jnp.sum(residual**2, where=is_row[:, None]) / jnp.maximum(jnp.sum(weights), 1.0)
        size = jnp.sqrt(square / jnp.mean(jnp.sum(table**2, axis=-1)))
        kernel, _ = jax.lax.scan(iteration, size * kernel, length=num_iterations)
        codes, table = nearest(kernel)
        return residual - codebook.lookup(codes, table), kernel

    return jax.lax.scan(level, rows, (frozen, kernels))[1]


def _least_squares(
    vectors: Float[Array, "v d"], counts: Float[Array, "v"], missing: Float[Array, "v c"]
) -> Float[Array, "d c"]:
    """The change of the map that brings each code nearest to its members, by what they miss."""
    square = jnp.einsum("vd,v,ve->de", vectors, counts, vectors, precision=codebook.PRECISION)
    ridge = RIDGE * jnp.trace(square) / len(square) + 1e-30
    aim = jnp.einsum("vd,vc->dc", vectors, missing, precision=codebook.PRECISION)
    return jnp.linalg.solve(square + ridge * jnp.eye(len(square)), aim)
