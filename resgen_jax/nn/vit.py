"""A plain vision transformer as DINOv2 has it: no condition, learned positions, layer scales.

The network of arXiv 2010.11929 with the layer scales of 2103.17239; the sizes are DINOv2's
(2304.07193). SoftVQ-VAE (2412.10958) encodes and decodes with it.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from resgen_jax.core import build, errors
from resgen_jax.nn import adaptive, attention, linear, modulation, transformer

EPSILON = 1e-6  # of layer norms
# Published as cut off at -2 and 2, a hundred deviations away.
INIT = linear.normal(0.02)
CLASS_DEVIATION, LAYER_SCALE = 1e-6, 1e-5  # at the start


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes and choices of the network; the defaults are small."""

    num_layers: int = 4  # how many blocks follow one another
    width: int = 128  # channels of a position
    num_heads: int = 4  # of attention
    mlp_ratio: int = 4  # hidden width of a block's MLP, in widths
    remat: str = "full"  # what is computed again for the gradient to save memory
    compute_dtype: str = "float32"  # of matmuls

    def __post_init__(self):
        build.check_sizes(self, ("num_layers", "width", "num_heads", "mlp_ratio"))
        attention.check_heads(self.width, self.num_heads)
        build.check_known(self, transformer.COMPUTE)


# Layers, width and heads of the published sizes.
SIZES = {"s": (12, 384, 6), "b": (12, 768, 12), "l": (24, 1024, 16)}


def preset(size: str, **choices: Any) -> Spec:
    """The spec of a published size, with other choices: `preset("b", compute_dtype="bfloat16")`.

    Raises UserError for a size that is not known.
    """
    if size not in SIZES:
        raise errors.UserError(f"size {size!r} is unknown; {build.nearest(size, SIZES)}")
    num_layers, width, num_heads = SIZES[size]
    return Spec(num_layers, width, num_heads, **choices)


class Block(nnx.Module):
    """Attention, then an MLP with exact GELU; each is normalised before and scaled by channel.

    What they add is added up in float32, whatever they compute in: it is scaled by 1e-5 at the
    start, of which bfloat16 would keep nothing.
    """

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        width, dtype = spec.width, jnp.dtype(spec.compute_dtype)
        mlp_width, small = spec.mlp_ratio * width, nnx.initializers.constant(LAYER_SCALE)
        self.attention_norm, self.mlp_norm = (
            modulation.LayerNorm(width, EPSILON, rngs),
            modulation.LayerNorm(width, EPSILON, rngs),
        )
        self.attention = adaptive.Attention(width, spec.num_heads, dtype, rngs, INIT, INIT)
        self.up = linear.dense(width, mlp_width, ("embed", "mlp"), dtype, rngs, init=INIT)
        self.down = linear.dense(mlp_width, width, ("mlp", "embed"), dtype, rngs, init=INIT)
        self.attention_scale = linear.table((width,), ("embed",), small, rngs)
        self.mlp_scale = linear.table((width,), ("embed",), small, rngs)

    def __call__(self, values: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        """Values are float32, before and after."""
        mixed = self.attention(self.attention_norm(values)).astype(jnp.float32)
        values = values + self.attention_scale[...][None, None] * mixed
        hidden = jax.nn.gelu(self.up(self.mlp_norm(values)), approximate=False)
        found = self.down(hidden).astype(jnp.float32)
        return values + self.mlp_scale[...][None, None] * found


class Vit(nnx.Module):
    """A class token, image tokens and others behind them -> final hidden states of all.

    The class token and the `num_tokens` image tokens get learned positions; who gives others has
    placed them already.
    """

    def __init__(self, spec: Spec, num_tokens: int, rngs: nnx.Rngs):
        self.spec = spec
        init = linear.normal(CLASS_DEVIATION)
        self.class_token = linear.table((spec.width,), ("embed",), init, rngs)
        axes = (None, "embed")
        self.positions = linear.table((1 + num_tokens, spec.width), axes, INIT, rngs)
        make_block = nnx.vmap(
            lambda layer_rngs: Block(spec, layer_rngs),
            in_axes=0,
            out_axes=0,
            transform_metadata={nnx.PARTITION_NAME: "layers"},
        )
        self.blocks = make_block(rngs.split(spec.num_layers))
        self.norm = modulation.LayerNorm(spec.width, EPSILON, rngs)

    def __call__(
        self, tokens: Float[Array, "b n d"], others: Float[Array, "b l d"]
    ) -> Float[Array, "b all d"]:
        """Normalised, in float32: one of the class, then the tokens' in order, then the others'."""
        tokens = tokens.astype(jnp.float32)
        shape = tokens.shape[0], 1, self.spec.width
        first = jnp.broadcast_to(self.class_token[...][None, None], shape)
        placed = jnp.concatenate([first, tokens], axis=1) + self.positions[...][None]
        values = jnp.concatenate([placed, others.astype(jnp.float32)], axis=1)
        graph, weights = nnx.split(self.blocks)

        def layer(values, weights):
            return nnx.merge(graph, weights)(values), None

        values, _ = jax.lax.scan(transformer.REMAT[self.spec.remat](layer), values, weights)
        return self.norm(values)
