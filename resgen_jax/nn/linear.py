"""Dense layers and tables that carry the logical names of their axes."""

from collections.abc import Callable

import jax
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
    # there on (microbatches, clipping, moments). That halves what training sends; a ring of 8, 32
    # or 256 chips rounds by 0.4, 0.7 or 2 % of the sum's size, without a side it errs on (so said
    # by drawn numbers), which is far less than the gradient's own noise.
    return nnx.Linear(
        in_dim,
        out_dim,
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=nnx.with_partitioning(init, axes),
        bias_init=nnx.with_partitioning(zeros, axes[-1:]),
        rngs=rngs,
    )


def table(shape: tuple[int, ...], axes: tuple, init: Callable, rngs: nnx.Rngs) -> nnx.Param:
    """A learned array with logical axes, one name or None a dimension."""
    return nnx.Param(nnx.with_partitioning(init, axes)(rngs.params(), shape))
