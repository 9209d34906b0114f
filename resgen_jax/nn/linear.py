"""Dense layers and tables that carry the logical names of their axes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

zeros = nnx.initializers.zeros
lecun = nnx.initializers.lecun_normal()


def normal(deviation: float) -> Callable:
    """Initialiser N(0, deviation^2)."""
    return nnx.initializers.normal(deviation)


def dense(
    in_dim: int,
    out_dim: int,
    axes: tuple[str | None, str | None],
    dtype: jax.typing.DTypeLike,
    rngs: nnx.Rngs,
    *,
    use_bias: bool = True,
    init: Callable = lecun,
) -> nnx.Linear:
    """A dense layer whose kernel has the logical `axes`; parameters float32, matmul in `dtype`."""
    # A bfloat16 matmul's kernel gradient is summed over the chips in bfloat16, and in float32 from
    # there on (microbatches, clipping, moments): half of what float32 would send. Drawn numbers
    # added one by one come out 0.4, 0.7 and 1.9 % off (rms) for 8, 32 and 256 chips; where all
    # chips agree, 0.4, 1.6 and 9 %. Training with float32 sums was not compared.
    return nnx.Linear(
        in_dim,
        out_dim,
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=nnx.with_partitioning(init, axes),
        bias_init=nnx.with_partitioning(zeros, axes[-1:]),
        rngs=rngs,
    )


def dense_to_float32(
    in_dim: int,
    out_dim: int,
    axes: tuple[str | None, str | None],
    dtype: jax.typing.DTypeLike,
    rngs: nnx.Rngs,
    *,
    init: Callable = lecun,
) -> nnx.Linear:
    """As `dense`, but what comes out is never rounded: multiplied in `dtype`, added in float32."""

    def promote(arrays, dtype):
        inputs, kernel, bias = arrays
        return inputs.astype(dtype), kernel.astype(dtype), bias.astype(jnp.float32)

    return nnx.Linear(
        in_dim,
        out_dim,
        dtype=dtype,
        promote_dtype=promote,
        preferred_element_type=jnp.float32,
        kernel_init=nnx.with_partitioning(init, axes),
        bias_init=nnx.with_partitioning(zeros, axes[-1:]),
        rngs=rngs,
    )


def dense_exact(
    in_dim: int, out_dim: int, axes: tuple[str | None, str | None], rngs: nnx.Rngs
) -> nnx.Linear:
    """As `dense` in float32, multiplied as such on a TPU or GPU, too: for a few outputs."""
    return nnx.Linear(
        in_dim,
        out_dim,
        dtype=jnp.float32,
        precision=jax.lax.Precision.HIGHEST,
        kernel_init=nnx.with_partitioning(lecun, axes),
        bias_init=nnx.with_partitioning(zeros, axes[-1:]),
        rngs=rngs,
    )


def table(shape: tuple[int, ...], axes: tuple, init: Callable, rngs: nnx.Rngs) -> nnx.Param:
    """A learned array with logical axes, one name or None a dimension."""
    return nnx.Param(nnx.with_partitioning(init, axes)(rngs.params(), shape))
