"""Mixture of Gaussians with low-rank means and one shared scale (ResGen section 3.2).

    mean_m = exp(log_scale) (weight_m factors_m + bias_m) + shift,   covariance = exp(2 log_scale) I

The network gives `Params` for every position; `Basis` is learnt and shared by all of them.
Distances use the Gram form, so the "... m c" array of all means never exists; everything is
float32 or wider.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from resgen_jax.core import keys as random_keys
from resgen_jax.distributions import categorical, filters

# Distances are differences of large numbers. At 256 components of rank 64 and 256 channels, means
# of unit spread, the log density is off by 28, 0.16 and 0.01 nats for log_scale -3 with one
# bfloat16 pass, three (HIGH) and six (HIGHEST), and by 133, 1.2 and 0.1 at -4. Compiled for a v5e
# (1,024 components, with gradient) six passes take 2.2 ms of arithmetic, three 1.1, beside 3.1 ms
# for memory either way: three would save at most 15 % of the density, if nothing overlapped.
EXACT = jax.lax.Precision.HIGHEST


class Params(NamedTuple):
    """What the network predicts for each position."""

    component_logits: Float[Array, "... m"]
    factors: Float[Array, "... m r"]
    shift: Float[Array, "... c"]
    log_scale: Float[Array, "..."]


class Basis(NamedTuple):
    """What all positions share: the directions and offsets of the component means."""

    weight: Float[Array, "m c r"]
    bias: Float[Array, "m c"]


class Sample(NamedTuple):
    """A draw, the component it came from and that component's log prior among those kept."""

    vector: Float[Array, "... c"]
    component: Int[Array, "..."]
    component_log_prior: Float[Array, "..."]


def component_log_prob(
    params: Params, basis: Basis, target: Float[Array, "... c"]
) -> Float[Array, "... m"]:
    """Log density of the target under each component alone."""
    params, basis, target = _widen((params, basis, target))
    squared = squared_distance(params, basis, target)
    log_volume = target.shape[-1] * (params.log_scale + 0.5 * math.log(2 * math.pi))
    return -log_volume[..., None] - 0.5 * squared


def squared_distance(
    params: Params, basis: Basis, target: Float[Array, "... c"]
) -> Float[Array, "... m"]:
    """|W f + b - y|^2 of each component, with y = (target - shift) exp(-log_scale)."""
    params, (weight, bias), target = _widen((params, basis, target))
    einsum = functools.partial(jnp.einsum, precision=EXACT)
    scaled = (target - params.shift) * jnp.exp(-params.log_scale)[..., None]
    # |Wf|^2 - 2 <Wf, y> + 2 <Wf, b> = <f, W'W f - 2 W'y + 2 W'b>
    gram = einsum("mcr,mcz->mrz", weight, weight)
    offset = 2 * einsum("mcr,mc->mr", weight, bias)
    slope = einsum("mrz,...mz->...mr", gram, params.factors)
    slope = slope - 2 * einsum("mcr,...c->...mr", weight, scaled)
    slope = slope + _with_rank(offset, slope.ndim)
    along = jnp.sum(params.factors * slope, axis=-1)
    # |b - y|^2, the part without factors
    across = jnp.sum(scaled**2, axis=-1)[..., None] - 2 * einsum("mc,...c->...m", bias, scaled)
    across = across + _with_rank(jnp.sum(bias**2, axis=-1), across.ndim)
    return jnp.maximum(along + across, 0)


def log_prob(params: Params, basis: Basis, target: Float[Array, "... c"]) -> Float[Array, "..."]:
    """Exact log density of the mixture at the target."""
    log_prior = _log_prior(params)
    return jax.nn.logsumexp(log_prior + component_log_prob(params, basis, target), axis=-1)


# From (log prior, log density of each component) to the share each component takes of the target.
Responsibilities = Callable[[Float[Array, "... m"], Float[Array, "... m"]], Float[Array, "... m"]]


def by_likelihood(
    log_prior: Float[Array, "... m"], component_log_prob: Float[Array, "... m"]
) -> Float[Array, "... m"]:
    """Shares from the densities alone, so that no component is starved by its prior (the paper)."""
    del log_prior
    return jax.nn.softmax(component_log_prob, axis=-1)


def by_posterior(
    log_prior: Float[Array, "... m"], component_log_prob: Float[Array, "... m"]
) -> Float[Array, "... m"]:
    """The true posterior: the bound is tight and its gradient is that of `log_prob`."""
    return jax.nn.softmax(log_prior + component_log_prob, axis=-1)


def bound(
    params: Params,
    basis: Basis,
    target: Float[Array, "... c"],
    smoothing: float = 0.01,
    responsibilities: Responsibilities = by_likelihood,
) -> Float[Array, "..."]:
    """Jensen's bound on -log_prob, regression plus classification (ResGen section 3.3)."""
    return weighted_bound(params, basis, target, smoothing, 1.0, responsibilities)


def weighted_bound(
    params: Params,
    basis: Basis,
    target: Float[Array, "... c"],
    smoothing: float = 0.01,
    regression_weight: float | Float[Array, ""] = 1.0,
    responsibilities: Responsibilities = by_likelihood,
) -> Float[Array, "..."]:
    """The two parts with a weight on the first; a bound on -log_prob at weight 1 only."""
    log_prior, log_density = _log_prior(params), component_log_prob(params, basis, target)
    share = smooth(responsibilities(log_prior, log_density), smoothing)
    regression = regression_part(log_density, share)
    return regression_weight * regression + classification_part(log_prior, share)


def smooth(share: Float[Array, "... m"], smoothing: float) -> Float[Array, "... m"]:
    """Responsibilities mixed with the uniform, and constant for the gradient."""
    return jax.lax.stop_gradient((1 - smoothing) * share + smoothing / share.shape[-1])


def regression_part(
    component_log_prob: Float[Array, "... m"], share: Float[Array, "... m"]
) -> Float[Array, "..."]:
    """Pulls each component towards the targets it is responsible for: -sum q log N."""
    return -jnp.sum(share * component_log_prob, axis=-1)


def classification_part(
    log_prior: Float[Array, "... m"], share: Float[Array, "... m"]
) -> Float[Array, "..."]:
    """Teaches the prior the responsibilities: KL(q || prior)."""
    return jnp.sum(jax.scipy.special.xlogy(share, share) - share * log_prior, axis=-1)


def component_mean(
    params: Params, basis: Basis, component: Int[Array, "..."]
) -> Float[Array, "... c"]:
    """Mean of one chosen component per position; the others are not computed."""
    params, (weight, bias) = _widen((params, basis))
    factors = jnp.take_along_axis(params.factors, component[..., None, None], axis=-2)
    # The gathered "... c r" is no larger than the factors' "... m r" while c <= m.
    direction = jnp.sum(weight[component] * factors, axis=-1)
    return jnp.exp(params.log_scale)[..., None] * (direction + bias[component]) + params.shift


def sample(
    keys: Key[Array, "b"],
    params: Params,
    basis: Basis,
    *,
    temperature: float | Float[Array, ""] = 1.0,
    top_k: int | Int[Array, ""] = 0,
    top_p: float | Float[Array, ""] = 1.0,
    noise_scale: float | Float[Array, ""] = 1.0,
) -> Sample:
    """One vector per position, with one key per example (the leading axis of `params`).

    `temperature` divides the component logits (0 = the likeliest), then `top_k` (0 = all) and
    `top_p` filter them; `noise_scale` multiplies the Gaussian noise. All may be traced. The log
    prior is taken at temperature 1 among the components that the filters keep.
    """
    params, basis = _widen((params, basis))
    kept = filters.keep(params.component_logits, temperature, top_k, top_p)
    return _draw(
        keys,
        params.component_logits,
        kept,
        lambda component: component_mean(params, basis, component),
        noise_scale * jnp.exp(params.log_scale),
    )


def sample_near(
    keys: Key[Array, "b"],
    params: Params,
    basis: Basis,
    target: Float[Array, "b *n c"],
    variance: Float[Array, "b *n"],
    *,
    temperature: float | Float[Array, ""] = 1.0,
    top_k: int | Int[Array, ""] = 0,
    top_p: float | Float[Array, ""] = 1.0,
    noise_scale: float | Float[Array, ""] = 1.0,
) -> Sample:
    """As `sample`, given that the vector was seen as `target` through noise of this variance.

    The exact posterior of z where target = z + N(0, variance I): a component's prior times
    N(target | mean, (s^2 + variance) I), then a Gaussian between that mean and the target. With
    variance 0 the vector is the target.
    """
    params, basis, target, variance = _widen((params, basis, target, variance))
    own = jnp.exp(2 * params.log_scale)
    trust = variance / (own + variance)  # in the mean; the rest of 1 in the target
    squared = squared_distance(params, basis, target)
    logits = _log_prior(params) - 0.5 * squared * (1 - trust)[..., None]

    def mean_of(component):
        mean = component_mean(params, basis, component)
        return target + trust[..., None] * (mean - target)

    kept = filters.keep(logits, temperature, top_k, top_p)
    return _draw(keys, logits, kept, mean_of, noise_scale * jnp.sqrt(own * trust))


def _draw(
    keys: Array,
    logits: Array,
    kept: Array,
    mean_of: Callable[[Array], Array],
    noise_scale: Array,
) -> Sample:
    """A component from the kept logits, and a vector around its mean."""
    use = jax.vmap(lambda key: random_keys.named_keys(key, "component", "noise"))(keys)
    component = jax.vmap(categorical.sample)(use["component"], kept)
    log_prior = jax.nn.log_softmax(jnp.where(kept > -jnp.inf, logits, -jnp.inf), axis=-1)
    log_prior = jnp.take_along_axis(log_prior, component[..., None], axis=-1)[..., 0]
    mean = mean_of(component)
    noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:], mean.dtype))(use["noise"])
    return Sample(mean + noise_scale[..., None] * noise, component, log_prior)


def _log_prior(params: Params) -> Array:
    return jax.nn.log_softmax(_widen(params.component_logits), axis=-1)


def _widen(tree):
    """Every array in one dtype, float32 or wider."""
    is_double = any(array.dtype == jnp.float64 for array in jax.tree.leaves(tree))
    dtype = jnp.float64 if is_double else jnp.float32
    return jax.tree.map(lambda array: array.astype(dtype), tree)


def _with_rank(array: Array, ndim: int) -> Array:
    return jax.lax.expand_dims(array, range(ndim - array.ndim))
