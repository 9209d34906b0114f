"""A head that draws a position's masked embedding by a small flow: a density of any shape.

It is MAR's diffusion head (arXiv 2406.11838, section 3.3) with the linear path of flow matching:
noise becomes a vector in a few Euler steps of a residual MLP, within one call of the trunk.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from resgen_jax.core import build
from resgen_jax.nn import linear, modulation, positions
from resgen_jax.quantizers import rvq

TIME_DIM = 64  # sines and cosines of the time
TIME_SCALE = 1000.0  # the range that those of DiT and MAR are made for
SMALLEST = 1e-6


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of the flow head, and its steps."""

    width: int = 256  # channels inside
    num_blocks: int = 3  # residual MLPs, each modulated by trunk state and time
    num_steps: int = 8  # of Euler, from noise to a vector

    def __post_init__(self):
        build.check_sizes(self, ("width", "num_blocks", "num_steps"))


class FlowHead(nnx.Module):
    """The velocity of a vector at a time, given the trunk's state."""

    def __init__(self, spec: Spec, width: int, code_dim: int, dtype, rngs: nnx.Rngs):
        self.spec, self.dtype = spec, dtype
        inside, blocks = spec.width, spec.num_blocks
        self.enter = linear.dense(code_dim, inside, (None, "embed"), dtype, rngs)
        self.state = linear.dense(width, inside, ("embed", None), dtype, rngs)
        self.time = linear.dense(TIME_DIM, inside, (None, "embed"), dtype, rngs)
        self.modulation = linear.dense(
            inside, (3 * blocks + 2) * inside, ("embed", "mlp"), dtype, rngs, init=linear.zeros
        )
        scale = linear.normal(1 / math.sqrt(inside))
        shape, axes = (blocks, inside, inside), (None, "embed", "mlp")
        self.up = linear.table(shape, axes, scale, rngs)
        self.down = linear.table(shape, axes[:1] + axes[:0:-1], scale, rngs)
        self.out = linear.dense_to_float32(
            inside, code_dim, ("embed", None), dtype, rngs, init=linear.zeros
        )

    def __call__(
        self,
        hidden: Float[Array, "b l d"],
        vectors: Float[Array, "b l c"],
        time: Float[Array, "b l"],
    ) -> Float[Array, "b l c"]:
        """d vectors / d time in float32; time 0 is data, 1 noise."""
        told = self.state(hidden) + self.time(positions.waves(TIME_SCALE * time, TIME_DIM))
        knobs = self.modulation(jax.nn.silu(told))
        *triples, shift, scale = jnp.split(knobs, knobs.shape[-1] // told.shape[-1], axis=-1)
        values = self.enter(vectors)
        kernels = zip(
            self.up[...].astype(self.dtype), self.down[...].astype(self.dtype), strict=True
        )
        for number, (up, down) in enumerate(kernels):
            shift_in, scale_in, gate = triples[3 * number : 3 * number + 3]
            inner = jax.nn.silu(linear.matmul(modulation.modulate(values, shift_in, scale_in), up))
            values = values + gate * linear.matmul(inner, down)
        return self.out(modulation.modulate(values, shift, scale))

    def integrate(
        self, noise: Float[Array, "b l c"], guided: Callable[..., Float[Array, "b l c"]]
    ) -> Float[Array, "b l c"]:
        """Vectors out of noise by Euler steps.

        `guided` gets the velocity, a function of states, vectors and time, then vectors and time of
        a step; it knows the states.
        """
        num_steps = self.spec.num_steps

        def euler(vectors, time):
            times = jnp.full(vectors.shape[:2], time)
            return vectors - guided(self, vectors, times) / num_steps, None

        times = 1 - jnp.arange(num_steps, dtype=jnp.float32) / num_steps
        return jax.lax.scan(euler, noise, times)[0]


def moments(
    is_masked: Bool[Array, "b l q"], codebooks: Float[Array, "q v c"]
) -> tuple[Float[Array, "b l c"], Float[Array, "b l"]]:
    """Mean and deviation a channel of masked embeddings by the codebooks alone, codes being even.

    The flow runs in units of these: what few fine levels hide is far smaller than a whole stack.
    """
    mean, variance = rvq.code_moments(codebooks)
    share = is_masked.astype(jnp.float32)
    deviation = jnp.sqrt(jnp.maximum(jnp.einsum("blq,q->bl", share, variance), SMALLEST))
    return jnp.einsum("blq,qc->blc", share, mean), deviation
