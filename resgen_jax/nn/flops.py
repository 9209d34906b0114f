"""Floating point operations of a function's matmuls and convolutions, read off its jaxpr.

XLA's own cost analysis counts the body of a scan once, whatever its length.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core as jax_core

PASSES = {jax.lax.Precision.HIGH: 3, jax.lax.Precision.HIGHEST: 6}


def count(function: Callable, *arguments: Any) -> float:
    """Operations (a multiply-add is two) of the matmuls and convolutions of `function(*arguments)`.

    Arguments may be abstract. A scan counts as often as it runs, of a cond the dearest branch; a
    while loop has no known length and raises ValueError if it holds any of them.
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*arguments).jaxpr, of_product)


def count_passes(function: Callable, *arguments: Any) -> float:
    """Like `count`, in operations of a matrix unit that multiplies bfloat16, as a TPU's does.

    It takes float32 as bfloat16 unless told better; at precision HIGH it multiplies three times, at
    HIGHEST six times.
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*arguments).jaxpr, _passes_of_product)


def _of_jaxpr(jaxpr: jax_core.Jaxpr, measure: Callable[[Any], float]) -> float:
    return sum((_of_equation(equation, measure) for equation in jaxpr.eqns), start=0.0)


def _of_equation(equation: Any, measure: Callable[[Any], float]) -> float:
    name, parameters = equation.primitive.name, equation.params
    if product := measure(equation):
        return product
    inside = [_of_jaxpr(inner, measure) for inner in inner_jaxprs(parameters)]
    if name == "scan":
        return parameters["length"] * sum(inside, start=0.0)
    if name == "cond":
        return max(inside)
    if name == "while" and sum(inside):
        raise ValueError("a while loop with matmuls has no known number of operations; use a scan")
    return sum(inside, start=0.0)


def of_product(equation: Any) -> float:
    """Operations of an equation that is itself a matmul or a convolution; 0 for any other."""
    name, parameters = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        inner = math.prod(shape[axis] for axis in contracted)
        return 2.0 * inner * math.prod(equation.outvars[0].aval.shape)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        out_axis = parameters["dimension_numbers"].rhs_spec[0]
        taps = math.prod(kernel) // kernel[out_axis]
        return 2.0 * taps * math.prod(equation.outvars[0].aval.shape)
    return 0.0


def _passes_of_product(equation: Any) -> float:
    product = of_product(equation)
    if not product or all(each.aval.dtype == jnp.bfloat16 for each in equation.invars[:2]):
        return product
    wanted = equation.params["precision"]
    sides = wanted if isinstance(wanted, tuple) else (wanted, wanted)
    return product * max(PASSES.get(side, 1) for side in sides)


def inner_jaxprs(parameters: dict[str, Any]) -> Iterator[jax_core.Jaxpr]:
    """The jaxprs that an equation calls, off its parameters."""
    for value in parameters.values():
        for item in value if isinstance(value, list | tuple) else (value,):
            if isinstance(item, jax_core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, jax_core.Jaxpr):
                yield item
