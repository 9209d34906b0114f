"""How likely the quantizer returns a given code when it is handed a draw from the mixture."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from resgen_jax.core import errors, keys
from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.quantizers import codebook as codebook_lib

# Share of a uniform guess mixed in, so that no code costs more than ln V + 4.85 nats. It leaves the
# ln V of a guess as it is and adds 0.008 nats or less to a code that is likelier than a guess.
GUESS_SHARE = 1 / 128
TINY = 1e-12


def nll(
    row_keys: Key[Array, "b"],
    params: mixture.Params,
    basis: mixture.Basis,
    codebook: Float[Array, "v c"],
    codes: Int[Array, "b l"],
    num_draws: int,
) -> Float[Array, "b l"]:
    """Nats of each code under the mixture: -ln P(its vector is the closest to a draw).

    A guess costs ln V, a code never in doubt 0.008, one ruled out ln V + 4.85. The mean is right to
    a few hundredths of a nat from 32 draws on: the jackknife takes away what a logarithm of a mean
    is too high. A single value may be off by half a nat. Raises UserError for less than 2 draws.
    """
    if num_draws < 2:
        raise errors.UserError(f"num_draws is {num_draws}; expected 2 or more")
    found = probabilities(row_keys, params, basis, codebook, codes, num_draws)
    found = (1 - GUESS_SHARE) * found + GUESS_SHARE / len(codebook)
    total = jnp.sum(found, axis=0)
    others = (total[None] - found) / (num_draws - 1)
    return (num_draws - 1) * jnp.mean(jnp.log(others), axis=0) - num_draws * jnp.log(
        total / num_draws
    )


def probabilities(
    row_keys: Key[Array, "b"],
    params: mixture.Params,
    basis: mixture.Basis,
    codebook: Float[Array, "v c"],
    codes: Int[Array, "b l"],
    num_draws: int,
) -> Float[Array, "s b l"]:
    """Independent, unbiased estimates of P(code), one key an example; each is at most 2.

    A draw is a component and all of the noise but one direction; along that one the code's cell is
    an interval, whose Gaussian probability is exact. Counting hits instead would need many times V
    draws to tell a guess from something worse.
    """
    codebook = codebook.astype(jnp.float32)
    own = codebook_lib.lookup(codes, codebook)
    log_prior = jax.nn.log_softmax(params.component_logits.astype(jnp.float32), axis=-1)
    # Half of the draws go by the prior, half to the components that are likely at the code's own
    # vector: a weight is at most 2, and no near component is missed.
    near = mixture.by_posterior(log_prior, mixture.component_log_prob(params, basis, own))
    chance = 0.5 * (jnp.exp(log_prior) + near)
    weight = jnp.exp(log_prior) / jnp.maximum(chance, TINY)
    up_to = jnp.cumsum(chance, axis=-1)
    scale = jnp.exp(params.log_scale.astype(jnp.float32))[..., None]

    def draw(index):
        use = jax.vmap(
            lambda key: keys.named_keys(jax.random.fold_in(key, index), "component", "noise")
        )(row_keys)
        place = jax.vmap(lambda key: jax.random.uniform(key, codes.shape[1:]))(use["component"])
        component = jnp.sum(up_to < place[..., None], axis=-1).astype(jnp.int32)
        component = jnp.minimum(component, chance.shape[-1] - 1)
        mean = mixture.component_mean(params, basis, component)
        noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:]))(use["noise"])
        inside = _cell_probability(mean, scale, noise, codebook, codes, own)
        return inside * jnp.take_along_axis(weight, component[..., None], axis=-1)[..., 0]

    return jax.lax.map(draw, jnp.arange(num_draws))


def _cell_probability(
    mean: Float[Array, "b l c"],
    scale: Float[Array, "b l one"],
    noise: Float[Array, "b l c"],
    codebook: Float[Array, "v c"],
    codes: Int[Array, "b l"],
    own: Float[Array, "b l c"],
) -> Float[Array, "b l"]:
    """P(mean + scale z lies closest to `own`), the part of z across one direction given."""
    # From the mean to the code, and away from the middle of the codebook, where outer cells open.
    along = (own - mean) + (own - jnp.mean(codebook, axis=0)[None, None])
    norm = jnp.linalg.norm(along, axis=-1, keepdims=True)
    along = along / jnp.maximum(norm, TINY)
    across = noise - jnp.sum(noise * along, axis=-1, keepdims=True) * along
    half_norm = 0.5 * jnp.sum(codebook**2, axis=-1)[None, None]

    def product(vectors):
        return jnp.einsum("blc,vc->blv", vectors, codebook, precision=codebook_lib.PRECISION)

    is_own = codes[..., None] == jnp.arange(len(codebook))[None, None]

    def ahead(score):
        """The code's own score less that of every other."""
        return jnp.sum(score, axis=-1, where=is_own, keepdims=True) - score

    # At t along the direction the code is ahead of another where lead + t rise >= 0.
    lead = ahead(product(mean + scale * across) - half_norm)
    rise = ahead(product(scale * along))
    crossing = -lead / jnp.where(rise == 0, 1.0, rise)
    low = jnp.max(crossing, axis=-1, where=rise > 0, initial=-jnp.inf)
    high = jnp.min(crossing, axis=-1, where=rise < 0, initial=jnp.inf)
    is_open = (low < high) & jnp.all((rise != 0) | (lead >= 0), axis=-1)
    inside = jax.scipy.special.ndtr(high) - jax.scipy.special.ndtr(low)
    return jnp.where(is_open, inside, 0.0)
