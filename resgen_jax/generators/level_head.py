"""A head that draws a position's codes level by level, each given those above it.

A residual network per level sees the trunk's state and the vectors of all coarser levels, so the
probability of a stack is exact: a product over its levels. The trunk is called once for all.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from resgen_jax.core import build, errors, spaces
from resgen_jax.losses import masked
from resgen_jax.nn import linear, modulation
from resgen_jax.quantizers import codebook, rvq

# From logits of a level and what else belongs to it to its codes, and what is to be kept of it.
Choose = Callable[[Float[Array, "b l v"], Any], tuple[Int[Array, "b l"], Any]]
# From the last features of all rows to those that logits are read of.
Combine = Callable[[Float[Array, "b l d"]], Float[Array, "g l d"]]
TINY = 1e-12
BY_LEVEL = ("told", "start", "up", "down", "out", "aim", "bias", "sharpness")
# Of the Gaussian, by channels in deviations of a level: of 32 channels a hit is 1.6 nats ahead.
FIRST_SHARPNESS = 0.1
NEVER = -1e9  # the logit of what only fills a codebook up; finite, so that it can be guided


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of the level head; a few per cent of a trunk that is four times as wide."""

    width: int = 128  # channels inside
    num_blocks: int = 2  # residual MLPs of a level
    sum_noise: float = 0.0  # in training, on the coarser vectors; in deviations of the last one

    def __post_init__(self):
        build.check_sizes(self, ("width", "num_blocks"))
        if not 0 <= self.sum_noise < math.inf:
            raise errors.UserError(
                f"levels.sum_noise is {self.sum_noise}; expected 0 (none) or more"
            )


class LevelHead(nnx.Module):
    """Weights of their own for every level, scanned over depth.

    It begins as a Gaussian around one estimate of the whole stack's vector, which all levels share:
    what the coarser levels leave of it says how likely each vector of a level is. The logits of a
    residual network that knows the coarser vectors are added, from zero. Without the estimate every
    level had to learn where its vectors lie by itself, which took far longer (docs/comparison.md).
    """

    def __init__(self, spec: Spec, width: int, item: spaces.Codes, dtype, rngs: nnx.Rngs):
        self.spec, self.dtype = spec, dtype
        depth, size, channels = item.codebooks_shape
        inside, blocks = spec.width, spec.num_blocks

        def kernels(
            *shape: int, axes: tuple[str | None, str | None], is_zero: bool = False
        ) -> nnx.Param:
            names = (None,) * (len(shape) - 1) + axes
            init = linear.zeros if is_zero else linear.normal(1 / math.sqrt(shape[-2]))
            return linear.table((depth, *shape), names, init, rngs)

        self.enter = linear.dense(width, inside, ("embed", None), dtype, rngs)
        self.told = kernels(2 * channels, inside, axes=(None, None))
        self.start = linear.table((depth, inside), (None, None), linear.zeros, rngs)
        self.up = kernels(blocks, inside, 2 * inside, axes=(None, "mlp"))
        self.down = kernels(blocks, 2 * inside, inside, axes=("mlp", None))
        self.out = kernels(inside, size, axes=(None, "vocab"), is_zero=True)
        self.aim = kernels(inside, channels, axes=(None, None), is_zero=True)
        self.bias = linear.table((depth, size), (None, "vocab"), linear.zeros, rngs)
        self.estimate = linear.dense_to_float32(width, channels, ("embed", None), dtype, rngs)
        self.sharpness = linear.table((depth,), (None,), _first_sharpness, rngs)

    def walk(
        self,
        hidden: Float[Array, "b l d"],
        codebooks: Float[Array, "q v c"],
        choose: Choose,
        inputs: Any,
        noise: Float[Array, "q b l c"] | None = None,
        combine: Combine = lambda features: features,
    ) -> tuple[Int[Array, "b l q"], Any]:
        """Codes of all levels, and what `choose` keeps, its leading axis the level.

        `inputs` has a leading axis of levels; `choose` gets its slices. `noise`, of deviation 1, is
        added to what a level is told of those above it as `sum_noise` says. `combine` may make one
        row of several, as guidance does: logits are read of what it gives.
        """
        if noise is not None:
            noise = self.spec.sum_noise * noise if self.spec.sum_noise else None
        is_padding = rvq.is_padding(codebooks)
        tables = jnp.where(is_padding[..., None], 0, codebooks).astype(jnp.float32)
        deviation = _deviation(tables, is_padding)
        # What a level is told last is of the level above it; the first is told of none.
        above = jnp.concatenate([jnp.ones(1), deviation[:-1]])
        state, estimate = self.enter(hidden), self.estimate(hidden)
        weights = {name: getattr(self, name)[...] for name in BY_LEVEL}

        def level(carry, each):
            total, last = carry
            own, table, is_none, scale, scale_above, blur, more = each
            moved = jnp.zeros(()) if blur is None else scale_above * blur
            told = jnp.concatenate([total + moved, (last + moved) / scale_above], axis=-1)
            left = (estimate - total - moved) / scale
            parts = self._features(own, state, told), left
            features = jnp.concatenate([part.astype(self.dtype) for part in parts], axis=-1)
            logits = self._read(own, combine(features), table / scale)
            codes, kept = choose(jnp.where(is_none[None, None], NEVER, logits), more)
            vector = codebook.lookup(codes, table)
            return (total + vector, vector), (codes, kept)

        nothing = jnp.zeros((*hidden.shape[:2], codebooks.shape[-1]), jnp.float32)
        levels = weights, tables, is_padding, deviation, above, noise, inputs
        _, (codes, kept) = jax.lax.scan(jax.checkpoint(level), (nothing, nothing), levels)
        return jnp.moveaxis(codes, 0, -1), kept

    def nll(
        self,
        hidden: Float[Array, "b l d"],
        codes: Int[Array, "b l q"],
        codebooks: Float[Array, "q v c"],
        noise: Float[Array, "q b l c"] | None = None,
    ) -> Float[Array, "b l q"]:
        """Exact nats of each code given the coarser ones of its position; float32."""

        def keep(logits, codes):
            return codes, masked.code_nll(logits, codes)

        _, found = self.walk(hidden, codebooks, keep, jnp.moveaxis(codes, -1, 0), noise)
        return jnp.moveaxis(found, 0, -1)

    def _features(self, own, state: Array, told: Array) -> Array:
        dtype = self.dtype
        values = state + _product(told, own["told"], dtype) + own["start"].astype(dtype)[None, None]
        for up, down in zip(own["up"], own["down"], strict=True):
            inner = jax.nn.gelu(_product(modulation.layer_norm(values), up, dtype))
            values = values + _product(inner, down, dtype)
        return modulation.layer_norm(values)

    def _read(self, own, features: Array, table: Array) -> Array:
        """Logits in float32; all kernels stand below each other, which makes one product of three.

        The Gaussian's are sharpness * (left . vector - |vector|^2 / 2).
        """
        free = own["out"] + jnp.einsum("dc,vc->dv", own["aim"], table)
        gaussian = own["sharpness"] * table
        bias = own["bias"] - jnp.sum(gaussian * table, axis=-1) / 2
        kernel = jnp.concatenate([free, gaussian.T])
        return _product(features, kernel, self.dtype, jnp.float32) + bias[None, None]


def _first_sharpness(key, shape, dtype=jnp.float32):
    del key
    return jnp.full(shape, FIRST_SHARPNESS, dtype)


def _product(values: Array, kernel: Array, dtype, out_dtype=None) -> Array:
    return linear.matmul(values.astype(dtype), kernel.astype(dtype), out_dtype)


def _deviation(tables: Float[Array, "q v c"], is_padding: Any) -> Float[Array, "q"]:
    """Root mean square of the channels of each level's vectors."""
    square = jnp.mean(tables**2, axis=(1, 2), where=~is_padding[..., None])
    return jnp.sqrt(jnp.maximum(square, TINY))
