"""The network of SiT and DiT on a line of continuous latents: what it predicts of noisy ones.

SiT (arXiv 2401.08740) and DiT (arXiv 2212.09748) as SoftVQ-VAE (arXiv 2412.10958) uses them: a
position is a token, whose channels one linear layer takes in and one gives out. Both have the same
layers. SiT is told a time of [0, 1]; DiT a step of 0 to 999, and its `learns_variance` is True.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from resgen_jax.core import build, errors, spaces
from resgen_jax.generators import conditioning
from resgen_jax.nn import adaptive, attention, flops, functional, linear, positions, transformer


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes and choices of the network; the defaults are small."""

    num_layers: int = 4  # how many blocks follow one another
    width: int = 128  # channels of a position
    num_heads: int = 4  # of attention
    mlp_ratio: int = 4  # hidden width of a block's MLP, in widths
    # Beside each channel, where the log variance of a step lies between its bounds, as in DiT.
    learns_variance: bool = False
    time_scale: float = 1.0  # what times are multiplied with before their waves are taken
    remat: str = "full"  # what is computed again for the gradient to save memory
    compute_dtype: str = "float32"  # of matmuls

    def __post_init__(self):
        build.check_sizes(self, ("num_layers", "width", "num_heads", "mlp_ratio"))
        attention.check_heads(self.width, self.num_heads)
        if self.width % 2:
            raise errors.UserError(
                f"width is {self.width}; expected an even one, for a sine and a cosine each: use "
                f"{self.width + 1}"
            )
        if not 0 < self.time_scale < math.inf:
            raise errors.UserError(
                f"time_scale is {self.time_scale}; expected a finite number above 0, 1 for none"
            )
        build.check_known(self, transformer.COMPUTE)


# Layers, width and heads of the published sizes; "sl" stands in SoftVQ-VAE's code alone.
SIZES = {
    "s": (12, 384, 6),
    "b": (12, 768, 12),
    "sl": (16, 1024, 16),
    "l": (24, 1024, 16),
    "xl": (28, 1152, 16),
}


def preset(size: str, **choices: Any) -> Spec:
    """The spec of a published size, with other choices: `preset("xl", learns_variance=True)`.

    Raises UserError for a size that is not known.
    """
    if size not in SIZES:
        raise errors.UserError(f"size {size!r} is unknown; {build.nearest(size, SIZES)}")
    num_layers, width, num_heads = SIZES[size]
    return Spec(num_layers, width, num_heads, **choices)


class DiffusionTransformer(nnx.Module):
    """Noisy latents, times and labels -> what is predicted of them, zeros at the start.

    Raises UserError for a space of codes, without classes, or of a grid of several rows: fixed
    positions are those of a line.
    """

    def __init__(self, spec: Spec, space: spaces.Space, rngs: nnx.Rngs):
        if space.layout[0] > 1:
            raise errors.UserError(
                f"the latents lie on a grid of {space.grid}, but this network knows positions of a "
                "line; give it a space without a grid"
            )
        self.spec, self.space = spec, space
        width, channels = spec.width, space.latents.channels
        dtype = jnp.dtype(spec.compute_dtype)
        axes = (None, "embed")
        self.tokens = linear.dense(channels, width, axes, dtype, rngs, init=linear.xavier)
        self.time = conditioning.TimeEmbedding(width, dtype, rngs)
        self.classes = conditioning.ClassEmbedding(space.num_classes, width, rngs)
        mlp_width = spec.mlp_ratio * width
        make_block = nnx.vmap(
            lambda layer_rngs: adaptive.Block(width, spec.num_heads, mlp_width, dtype, layer_rngs),
            in_axes=0,
            out_axes=0,
            transform_metadata={nnx.PARTITION_NAME: "layers"},
        )
        self.blocks = make_block(rngs.split(spec.num_layers))
        self.final = adaptive.Final(width, channels * (1 + spec.learns_variance), dtype, rngs)

    def __call__(
        self,
        states: Float[Array, "b l c"],
        times: Float[Array, "b"],
        labels: Int[Array, "b"],
        is_valid: Bool[Array, "b l"] | None = None,
    ) -> Float[Array, "b l e"]:
        """The prediction in float32, of as many channels, or twice as many (`split_variance`).

        Latents are of unit scale: less the space's mean and over its deviation. Label
        `num_classes` is no class. Where not `is_valid` there is padding, NaN even, which no other
        position learns of, and zeros come out; without `is_valid` there is none. Raises UserError
        for more positions than the space has, and for other channels.
        """
        self._check(states.shape)
        spec, dtype = self.spec, jnp.dtype(self.spec.compute_dtype)
        states = attention.without_padding(states, is_valid)
        places = positions.line(states.shape[1], spec.width)
        values = self.tokens(states) + places.astype(dtype)[None]
        classes = self.classes(labels).astype(dtype)
        condition = self.time(spec.time_scale * times) + classes
        graph, weights = nnx.split(self.blocks)

        def layer(values, weights):
            return nnx.merge(graph, weights)(values, condition, is_valid), None

        values, _ = jax.lax.scan(transformer.REMAT[spec.remat](layer), values, weights)
        return attention.without_padding(self.final(values, condition), is_valid)

    def _check(self, shape: tuple[int, ...]) -> None:
        most, channels = self.space.max_length, self.space.latents.channels
        if shape[1] > most or shape[2] != channels:
            raise errors.UserError(
                f"states are {shape[1]} positions of {shape[2]} channels; expected at most {most} "
                f"of {channels}, as in the space that the network was made for"
            )


def split_variance(
    outputs: Float[Array, "b l e"],
) -> tuple[Float[Array, "b l c"], Float[Array, "b l c"]]:
    """The prediction, and the share that `samplers.ancestral` asks for, of all 2 c channels.

    The second half is from -1 to 1 where the log variance lies between its least and its most, but
    nothing holds it there (arXiv 2102.09672, equation 15, as in DiT's code).
    """
    predicted, between = jnp.split(outputs, 2, axis=-1)
    return predicted, (between + 1) / 2


@functools.cache  # tracing a network is slow; it holds no state
def make(spec: Spec, space: spaces.Space) -> functional.Network:
    """`init` and `apply` of the network."""
    return functional.from_module(lambda rngs: DiffusionTransformer(spec, space, rngs))


def forward_program(spec: Spec, space: spaces.Space, batch_size: int) -> tuple[Callable, tuple]:
    """A forward pass over a batch of the longest examples, and its abstract arguments."""
    network = make(spec, space)
    shape = batch_size, space.max_length, space.latents.channels
    return network.apply, (
        jax.eval_shape(network.init, jax.random.key(0)),
        jax.ShapeDtypeStruct(shape, jnp.float32),
        jax.ShapeDtypeStruct((batch_size,), jnp.float32),
        jax.ShapeDtypeStruct((batch_size,), jnp.int32),
    )


@functools.cache
def forward_flops(spec: Spec, space: spaces.Space) -> float:
    """Matmul operations of one forward pass over one example, of which a multiply-add is two.

    Those of all linear layers, modulations and time included, and of attention; no norms, no
    activations, no softmax.
    """

    def of_batch(batch_size: int) -> float:
        function, arguments = forward_program(spec, space, batch_size)
        return flops.count(function, *arguments)

    # Of two examples and one, the difference: what is done once a batch does not count.
    return of_batch(2) - of_batch(1)
