"""Dense layers and tables that carry the logical names of their axes."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

zeros = nnx.initializers.zeros
lecun = nnx.initializers.lecun_normal()
xavier = nnx.initializers.xavier_uniform()
# As one third of the outputs of a layer that makes queries, keys and values together would start.
xavier_of_three = nnx.initializers.variance_scaling(0.5, "fan_avg", "uniform")


def normal(deviation: float) -> Callable:
    """Initialiser N(0, deviation^2)."""
    return nnx.initializers.normal(deviation)


def even(bound: float) -> Callable:
    """Initialiser U(-bound, bound)."""

    def draw(key, shape, dtype=jnp.float32, out_sharding=None):
        del out_sharding  # eager sharding is off: `functional`
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw


def dense(
    in_dim: int,
    out_dim: int,
    axes: tuple[str | None, str | None],
    dtype: jax.typing.DTypeLike,
    rngs: nnx.Rngs,
    *,
    use_bias: bool = True,
    init: Callable = lecun,
    bias_init: Callable = zeros,
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
        dot_general=_dot_general,
        kernel_init=nnx.with_partitioning(init, axes),
        bias_init=nnx.with_partitioning(bias_init, axes[-1:]),
        rngs=rngs,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def matmul(
    values: Float[Array, "*n d"],
    kernel: Float[Array, "d e"],
    out_dtype: jax.typing.DTypeLike | None = None,
) -> Float[Array, "*n e"]:
    """`values @ kernel`, with gradients whose matmuls read both sides as they lie in memory.

    The rule that JAX derives makes the kernel's gradient transposed; on CPU the incoming gradient
    was copied for it, element by element, which took longer than the matmul. What is added up comes
    out in `out_dtype`, or in that of the inputs.
    """
    dimensions = (((values.ndim - 1,), (0,)), ((), ()))
    return jax.lax.dot_general(values, kernel, dimensions, preferred_element_type=out_dtype)


def _matmul_forward(values: Array, kernel: Array, out_dtype) -> tuple[Array, tuple[Array, Array]]:
    dimensions = (((values.ndim - 1,), (0,)), ((), ()))
    made = jax.lax.dot_general(values, kernel, dimensions, preferred_element_type=out_dtype)
    return made, (values, kernel)


def _matmul_backward(out_dtype, seen: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    del out_dtype
    values, kernel = seen
    rows = gradient.reshape(-1, gradient.shape[-1])
    flat = values.reshape(-1, values.shape[-1])
    to_values = jax.lax.dot_general(
        rows, kernel, (((1,), (1,)), ((), ())), preferred_element_type=values.dtype
    )
    to_kernel = jax.lax.dot_general(
        flat, rows, (((0,), (0,)), ((), ())), preferred_element_type=kernel.dtype
    )
    return to_values.reshape(values.shape), to_kernel


matmul.defvjp(_matmul_forward, _matmul_backward)


def _dot_general(
    values: Array, kernel: Array, dimensions, *, preferred_element_type=None, **options
) -> Array:
    """What a dense layer asks for: the last axis of one with the first of the other."""
    asked = {name: value for name, value in options.items() if value is not None}
    if asked or dimensions != (((values.ndim - 1,), (0,)), ((), ())):
        raise ValueError(
            f"a dense layer asks for {dimensions} with {asked}; expected last with first"
        )
    return matmul(values, kernel, preferred_element_type)


def dense_to_float32(
    in_dim: int,
    out_dim: int,
    axes: tuple[str | None, str | None],
    dtype: jax.typing.DTypeLike,
    rngs: nnx.Rngs,
    *,
    init: Callable = lecun,
    bias_init: Callable = zeros,
) -> nnx.Linear:
    """As `dense`, but what comes out is never rounded: multiplied in `dtype`, added in float32."""

    def promote(arrays: Any, /, *, dtype: Any = None, inexact: bool = True) -> Any:
        del inexact
        inputs, kernel, bias = arrays
        return inputs.astype(dtype), kernel.astype(dtype), bias.astype(jnp.float32)

    return nnx.Linear(
        in_dim,
        out_dim,
        dtype=dtype,
        promote_dtype=promote,
        preferred_element_type=jnp.float32,
        dot_general=_dot_general,
        kernel_init=nnx.with_partitioning(init, axes),
        bias_init=nnx.with_partitioning(bias_init, axes[-1:]),
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
