"""Codebooks of fewer channels than the latents, between two linear maps (ViT-VQGAN section 3.2)."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from resgen_jax.core import keys

# {"in": {"kernel": "d c", "bias": "c"}, "out": {"kernel": "c d", "bias": "d"}}
Params = dict


def init(key: PRNGKeyArray, width: int, code_dim: int) -> Params:
    """Random maps from `width` channels to `code_dim` and back, without bias at the start."""
    named = keys.named_keys(key, "in", "out")
    return {
        "in": _linear(named["in"], width, code_dim),
        "out": _linear(named["out"], code_dim, width),
    }


def project_in(params: Params, latents: Float[Array, "*n d"]) -> Float[Array, "*n c"]:
    """What a quantizer with fewer channels is given."""
    return _apply(params["in"], latents)


def project_out(params: Params, quantized: Float[Array, "*n c"]) -> Float[Array, "*n d"]:
    """What it gives, in the latents' channels again."""
    return _apply(params["out"], quantized)


def _linear(key, in_dim: int, out_dim: int) -> Params:
    kernel = jax.random.normal(key, (in_dim, out_dim)) / math.sqrt(in_dim)
    return {"kernel": kernel, "bias": jnp.zeros(out_dim)}


def _apply(params: Params, values: Float[Array, "*n i"]) -> Float[Array, "*n o"]:
    bias = params["bias"].reshape(*(1,) * (values.ndim - 1), -1)
    return jnp.einsum("...i,io->...o", values, params["kernel"]) + bias
