"""What a generator is told beside codes or latents: class, time, and which levels are hidden."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from resgen_jax.nn import linear, positions

NUM_COSINES = 16  # of a share in [0, 1]
NUM_WAVES = 256  # of a time


class ClassEmbedding(nnx.Module):
    """A learned vector for each class, and one more for no class: label `num_classes`."""

    def __init__(self, num_classes: int, width: int, rngs: nnx.Rngs):
        self.table = linear.table(
            (num_classes + 1, width), (None, "embed"), linear.normal(0.02), rngs
        )

    def __call__(self, labels: Int[Array, "b"]) -> Float[Array, "b d"]:
        return self.table[...][labels]


class MaskEmbedding(nnx.Module):
    """Which levels of each position are hidden, as one vector (ResGen section 3.1).

    A table holds two vectors a level, one for hidden and one for revealed; those of all levels are
    concatenated.
    """

    def __init__(self, depth: int, mask_dim: int, rngs: nnx.Rngs):
        self.table = linear.table(
            (depth, 2, mask_dim), (None, None, None), linear.normal(1.0), rngs
        )

    def __call__(self, is_masked: Bool[Array, "b l q"]) -> Float[Array, "b l e"]:
        revealed, hidden = jnp.moveaxis(self.table[...], 1, 0)
        chosen = jnp.where(is_masked[..., None], hidden[None, None], revealed[None, None])
        return chosen.reshape(*is_masked.shape[:2], -1)


class ShareEmbedding(nnx.Module):
    """How much of a guided prediction is the network's own (guidance-free training), as a vector.

    Cosines of the share, and a linear layer that starts at zero: before it is trained, nothing
    depends on it.
    """

    def __init__(self, width: int, dtype, rngs: nnx.Rngs):
        self.out = linear.dense(NUM_COSINES, width, (None, "embed"), dtype, rngs, init=linear.zeros)

    def __call__(self, share: Float[Array, "b"]) -> Float[Array, "b d"]:
        number = jnp.arange(NUM_COSINES, dtype=jnp.float32)
        return self.out(jnp.cos(jnp.pi * share[:, None] * number[None]))


class TimeEmbedding(nnx.Module):
    """The time of diffusion as a vector: waves, Linear, SiLU, Linear (as published for DiT)."""

    def __init__(self, width: int, dtype, rngs: nnx.Rngs):
        init = linear.normal(0.02)
        self.up = linear.dense(NUM_WAVES, width, (None, "mlp"), dtype, rngs, init=init)
        self.down = linear.dense(width, width, ("mlp", "embed"), dtype, rngs, init=init)

    def __call__(self, times: Float[Array, "b"]) -> Float[Array, "b d"]:
        waves = positions.waves(times.astype(jnp.float32), NUM_WAVES)
        return self.down(jax.nn.silu(self.up(waves)))


def drop_labels(
    keys: Key[Array, "b"], labels: Int[Array, "b"], drop_rate: float, num_classes: int
) -> Int[Array, "b"]:
    """Labels with a share replaced by the null class, for classifier-free guidance.

    `keys` holds one key per example.
    """
    is_dropped = jax.vmap(lambda key: jax.random.bernoulli(key, drop_rate))(keys)
    return jnp.where(is_dropped, num_classes, labels)
