"""RQ-Transformer (arXiv 2203.01941): codes one by one, along the positions and down the levels."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.core import build, errors, keys
from resgen_jax.generators import interface
from resgen_jax.nn import dropout, functional, linear, modulation, transformer
from resgen_jax.quantizers import rvq

EPSILON = 1e-5
MLP_RATIO = 4


@dataclasses.dataclass(frozen=True)
class Spec:
    """Choices of the network; the sizes of the codes come from the data.

    The published ones, all with heads of 64: (width, body, head) layers (1536, 12, 4) with 480.9 M
    parameters on ImageNet, (1536, 24, 4) with 820.9 M, (1536, 42, 6) with 1,387.5 M and
    (2560, 42, 6) with 3,822.5 M.
    """

    width: int = 128
    num_heads: int = 4
    num_body_layers: int = 4  # along the positions
    num_head_layers: int = 2  # down the levels of one position
    dropout_rate: float = 0.0
    remat: str = "full"
    compute_dtype: str = "float32"

    def __post_init__(self):
        build.check_sizes(self, ("width", "num_heads", "num_body_layers", "num_head_layers"))
        if self.width % self.num_heads:
            raise errors.UserError(
                f"width {self.width} is not a multiple of num_heads {self.num_heads}; "
                f"use {self.width // self.num_heads * self.num_heads or self.num_heads}"
            )
        if not 0 <= self.dropout_rate < 1:
            raise errors.UserError(f"dropout_rate {self.dropout_rate} is outside [0, 1)")
        for name, known in (
            ("remat", transformer.REMAT),
            ("compute_dtype", ("float32", "bfloat16")),
        ):
            value = getattr(self, name)
            if value not in known:
                raise errors.UserError(f"{name} is {value!r}; {build.nearest(value, known)}")


class LayerNorm(nnx.Module):
    """Zero mean and unit variance per position, then a scale and a bias; all in float32."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.scale = linear.table((width,), ("embed",), nnx.initializers.ones, rngs)
        self.bias = linear.table((width,), ("embed",), linear.zeros, rngs)

    def __call__(self, values: Float[Array, "... d"]) -> Float[Array, "... d"]:
        normed = modulation.layer_norm(values.astype(jnp.float32), EPSILON)
        shape = (1,) * (values.ndim - 1) + (-1,)
        normed = normed * self.scale[...].reshape(shape) + self.bias[...].reshape(shape)
        return normed.astype(values.dtype)


def attend_causally(
    query: Float[Array, "b l a k"], key: Float[Array, "b l a k"], value: Float[Array, "b l a k"]
) -> Float[Array, "b l a k"]:
    """Attention of each position to itself and those before; logits and softmax in float32."""
    logits = jnp.einsum("blak,bmak->balm", query, key, preferred_element_type=jnp.float32)
    logits = logits / math.sqrt(query.shape[-1])
    may_attend = jnp.tri(query.shape[1], dtype=bool)[None, None]
    share = jax.nn.softmax(logits, axis=-1, where=may_attend)
    return jnp.einsum("balm,bmak->blak", share.astype(value.dtype), value)


class Block(nnx.Module):
    """Causal attention and a feed-forward layer, each normalised before and added to its input."""

    def __init__(self, spec: Spec, rngs: nnx.Rngs):
        self.spec = spec
        width, hidden = spec.width, MLP_RATIO * spec.width
        dtype = jnp.dtype(spec.compute_dtype)
        self.norm_attention, self.norm_mlp = LayerNorm(width, rngs), LayerNorm(width, rngs)
        self.query, self.key, self.value = (
            linear.dense(width, width, ("embed", "heads"), dtype, rngs) for _ in range(3)
        )
        self.out = linear.dense(width, width, ("heads", "embed"), dtype, rngs)
        self.up = linear.dense(width, hidden, ("embed", "mlp"), dtype, rngs)
        self.down = linear.dense(hidden, width, ("mlp", "embed"), dtype, rngs)

    def __call__(
        self, values: Float[Array, "b l d"], key: PRNGKeyArray | None
    ) -> Float[Array, "b l d"]:
        rate = self.spec.dropout_rate
        use = (None, None) if key is None else jax.random.split(key)
        normed = self.norm_attention(values)

        def heads(project):
            return project(normed).reshape(*values.shape[:2], self.spec.num_heads, -1)

        mixed = attend_causally(heads(self.query), heads(self.key), heads(self.value))
        mixed = self.out(mixed.reshape(values.shape))
        values = values + dropout.dropout(use[0], mixed, rate)
        hidden = jax.nn.gelu(self.up(self.norm_mlp(values)), approximate=False)
        return values + dropout.dropout(use[1], self.down(hidden), rate)


class Stack(nnx.Module):
    """Blocks one after the other, without a normalisation at the end; the layers are one scan."""

    def __init__(self, spec: Spec, num_layers: int, rngs: nnx.Rngs):
        self.spec, self.num_layers = spec, num_layers
        make_block = nnx.vmap(
            lambda layer_rngs: Block(spec, layer_rngs),
            in_axes=0,
            out_axes=0,
            transform_metadata={nnx.PARTITION_NAME: "layers"},
        )
        self.blocks = make_block(rngs.split(num_layers))

    def __call__(
        self, values: Float[Array, "b l d"], key: PRNGKeyArray | None
    ) -> Float[Array, "b l d"]:
        graph, weights = nnx.split(self.blocks)
        layer_keys = None if key is None else jax.random.split(key, self.num_layers)

        def layer(values, weights_and_key):
            weights, layer_key = weights_and_key
            return nnx.merge(graph, weights)(values, layer_key), None

        remat = transformer.REMAT[self.spec.remat]
        return jax.lax.scan(remat(layer), values, (weights, layer_keys))[0]


class RqTransformer(nnx.Module):
    """The body reads whole positions, the head the levels of one; see section 3.2."""

    def __init__(self, spec: Spec, space: interface.CodeSpace, rngs: nnx.Rngs):
        self.spec, self.space = spec, space
        width, dtype = spec.width, jnp.dtype(spec.compute_dtype)

        def table(*shape):
            axes = (*(None,) * (len(shape) - 1), "embed")
            return linear.table(shape, axes, linear.normal(0.02), rngs)

        self.classes = table(space.num_classes, width)
        self.class_position = table(width)
        # The last is never read: what follows the last position is not asked for.
        self.positions = table(space.length, width)
        self.levels = table(space.depth, width)
        self.body_in = linear.dense(space.code_dim, width, (None, "embed"), dtype, rngs)
        self.head_in = linear.dense(space.code_dim, width, (None, "embed"), dtype, rngs)
        self.body = Stack(spec, spec.num_body_layers, rngs)
        self.head = Stack(spec, spec.num_head_layers, rngs)
        self.norm = LayerNorm(width, rngs)
        self.out = linear.dense_to_float32(
            width, space.codebook_size, ("embed", "vocab"), dtype, rngs
        )

    def __call__(
        self,
        codes: Int[Array, "b l q"],
        labels: Int[Array, "b"],
        codebooks: Float[Array, "q v c"],
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "b l q v"]:
        """Logits of every code, given those before it; float32. A key turns dropout on."""
        use = {"body": None, "head": None}
        if key is not None:
            use = keys.named_keys(key, "body", "head")
        sums = rvq.partial_sums(codes, codebooks)
        context = self.contexts(sums[..., -1, :], labels, use["body"])
        return self.logits(context, sums[..., :-1, :], use["head"])

    def contexts(
        self,
        quantized: Float[Array, "b l c"],
        labels: Int[Array, "b"],
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "b l d"]:
        """What the body tells the head of each position, from the class and the positions before.

        `quantized` holds the vectors' sums; those of the last position are not read.
        """
        # Each level's vector passes the layer by itself, so its bias counts once for each.
        bias = self.body_in.bias[...].astype(jnp.float32) * (self.space.depth - 1)
        seen = self.body_in(quantized[:, :-1]).astype(jnp.float32) + bias[None, None]
        seen = seen + self.positions[...][None, : seen.shape[1]]
        start = self.classes[...][labels] + self.class_position[...][None]
        values = jnp.concatenate([start[:, None], seen], axis=1)
        return self.body(self._drop(values, key), key)

    def logits(
        self,
        context: Float[Array, "b l d"],
        sums: Float[Array, "b l p c"],
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "b l p2 v"]:
        """Logits of the first p + 1 levels, from the sums of the first 1 to p levels' vectors."""
        dtype = jnp.dtype(self.spec.compute_dtype)
        first = context[:, :, None, :].astype(dtype)
        values = jnp.concatenate([first, self.head_in(sums)], axis=2)
        values = values.reshape(-1, *values.shape[2:])
        levels = self.levels[...].astype(dtype)[None, : values.shape[1]]
        hidden = self.norm(self.head(values + levels, key))
        logits = self.out(hidden).astype(jnp.float32)
        return logits.reshape(*context.shape[:2], *logits.shape[1:])

    def _drop(self, values, key):
        embedding_key = None if key is None else keys.named_keys(key, "embedding")["embedding"]
        dtype = jnp.dtype(self.spec.compute_dtype)
        return dropout.dropout(embedding_key, values, self.spec.dropout_rate).astype(dtype)


def make(spec: Spec, space: interface.CodeSpace) -> functional.Network:
    """`init` and `apply` of the network; methods `contexts` and `logits` for sampling."""
    return functional.from_module(lambda rngs: RqTransformer(spec, space, rngs))
