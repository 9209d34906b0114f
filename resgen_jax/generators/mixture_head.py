"""From final hidden states to the low-rank mixture of Gaussians, and the auxiliary code head."""

import math

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.nn import linear


class MixtureHead(nnx.Module):
    """One linear layer for each field of `mixture.Params`, and the shared basis (section 3.2).

    Every output is affine in the hidden state, so guidance on the hidden state guides them all.
    """

    def __init__(
        self,
        width: int,
        num_components: int,
        rank: int,
        code_dim: int,
        min_log_scale: float,
        dtype,
        rngs: nnx.Rngs,
    ):
        self.min_log_scale = min_log_scale

        def project(out_dim: int, axis: str | None):
            return linear.dense(width, out_dim, ("embed", axis), dtype, rngs)

        self.component_logits = project(num_components, "components")
        self.factors = project(num_components * rank, "components")
        self.shift = project(code_dim, None)
        self.log_scale = project(1, None)
        self.weight = linear.table(
            (num_components, code_dim, rank),
            ("components", "channels", None),
            linear.normal(1 / math.sqrt(rank)),
            rngs,
        )
        self.bias = linear.table(
            (num_components, code_dim), ("components", "channels"), linear.zeros, rngs
        )

    def __call__(self, hidden: Float[Array, "b l d"]) -> mixture.Params:
        factors = self.factors(hidden)
        log_scale = self.log_scale(hidden)[..., 0].astype(jnp.float32)
        return mixture.Params(
            component_logits=self.component_logits(hidden).astype(jnp.float32),
            factors=factors.reshape(*factors.shape[:-1], -1, self.weight.shape[-1]).astype(
                jnp.float32
            ),
            shift=self.shift(hidden).astype(jnp.float32),
            log_scale=jnp.maximum(log_scale, self.min_log_scale),
        )

    def basis(self) -> mixture.Basis:
        """The directions and offsets that all positions share."""
        return mixture.Basis(self.weight[...], self.bias[...])


class CodeHead(nnx.Module):
    """Logits for the code of every level, from the same hidden state.

    An auxiliary signal for training: it tells the trunk apart what a mixture's density hardly
    rewards, the codes below the first level. Sampling uses it where `proposals` or `confidence`
    say so.
    """

    def __init__(self, width: int, depth: int, codebook_size: int, dtype, rngs: nnx.Rngs):
        self.depth = depth
        self.project = linear.dense(width, depth * codebook_size, ("embed", "vocab"), dtype, rngs)

    def __call__(self, hidden: Float[Array, "b l d"]) -> Float[Array, "b l q v"]:
        logits = self.project(hidden).astype(jnp.float32)
        return logits.reshape(*logits.shape[:-1], self.depth, -1)
