"""Parameters and operations by module: which matmul belongs to which parameter, off the jaxpr."""

import collections
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend import core as jax_core

from resgen_jax.core import trees
from resgen_jax.nn import flops

# Where a value comes from: the path of a parameter, or one of these.
DATA, CONSTANT = object(), object()
ACTIVATIONS = "(activations)"  # products without a parameter: attention's, for one
Origin = Any
Counts = collections.Counter


def by_parameter(function: Callable, params: Any, *arguments: Any) -> dict[str, float]:
    """Matmul and convolution operations of `function(params, *arguments)` by parameter path.

    An operation belongs to the parameter that is one of its operands, reshaped or cast or not;
    those without go under "(activations)". They add up to `nn.flops.count`, where no cond holds any
    (both branches count here). Arguments may be abstract.
    """
    closed = jax.make_jaxpr(function)(params, *arguments)
    paths = list(trees.named_leaves(params))
    origins = [*paths, *[DATA] * (len(closed.jaxpr.invars) - len(paths))]
    counts: Counts = collections.Counter()
    _walk(closed.jaxpr, origins, 1, counts)
    return dict(counts)


def by_module(
    program: Callable[[int], tuple[Callable, Sequence[Any]]], depth: int = 3
) -> list[dict[str, Any]]:
    """Rows of `module`, `parameters` and `forward_flops_per_example`, in the model's own order.

    `program(batch_size)` gives a forward pass and its abstract arguments, parameters first. Modules
    are paths cut after `depth` names. What is done once a batch does not count.
    """
    function, (params, *arguments) = program(2)
    twice = by_parameter(function, params, *arguments)
    function, (_, *arguments) = program(1)
    once = by_parameter(function, params, *arguments)
    rows: dict[str, dict[str, Any]] = {}
    for path, leaf in [*trees.named_leaves(params).items(), (ACTIVATIONS, None)]:
        module = "/".join(path.split("/")[:-1][:depth]) or path
        empty = {"module": module, "parameters": 0, "forward_flops_per_example": 0.0}
        row = rows.setdefault(module, empty)
        row["parameters"] += 0 if leaf is None else trees.num_parameters(leaf)
        row["forward_flops_per_example"] += twice.get(path, 0.0) - once.get(path, 0.0)
    return list(rows.values())


def _walk(
    jaxpr: jax_core.Jaxpr, origins: Sequence[Origin], times: int, counts: Counts
) -> list[Origin]:
    """Adds the operations of `jaxpr`, done `times` times; where its outputs come from."""
    known = dict(zip(jaxpr.invars, origins, strict=True))

    def origin(variable: Any) -> Origin:
        return CONSTANT if isinstance(variable, jax_core.Literal) else known.get(variable, CONSTANT)

    for equation in jaxpr.eqns:
        inputs = [origin(variable) for variable in equation.invars]
        outputs = _outputs(equation, inputs, times, counts)
        known |= dict(zip(equation.outvars, outputs, strict=True))
    return [origin(variable) for variable in jaxpr.outvars]


def _outputs(
    equation: Any, inputs: Sequence[Origin], times: int, counts: Counts
) -> Sequence[Origin]:
    if operations := flops.of_product(equation):
        owners = [each for each in inputs if isinstance(each, str)]
        owner = owners[0] if owners else ACTIVATIONS
        counts[owner] += times * operations  # type: ignore[assignment]  # more than whole numbers
    inner = list(flops.inner_jaxprs(equation.params))
    if not inner:
        return [_joined(inputs)] * len(equation.outvars)
    if equation.primitive.name == "scan":
        return _scan(equation, inputs, times, counts)
    outputs: Sequence[Origin] = ()
    for jaxpr in inner:
        # The branches of a cond take all but its first operand; every other call takes them all.
        operands = inputs[len(inputs) - len(jaxpr.invars) :]
        if len(operands) != len(jaxpr.invars):
            operands = [_joined(inputs)] * len(jaxpr.invars)
        outputs = _walk(jaxpr, operands, times, counts)
    fits = len(outputs) == len(equation.outvars)
    return outputs if fits else [_joined(inputs)] * len(equation.outvars)


def _scan(equation: Any, inputs: Sequence[Origin], times: int, counts: Counts) -> list[Origin]:
    """The carry begins as zeros, say, and is data from the second step on: its origin settles."""
    (jaxpr,) = flops.inner_jaxprs(equation.params)
    num_carry, first = equation.params["num_carry"], equation.params["num_consts"]
    inputs = list(inputs)
    for _ in range(num_carry + 1):
        carry = _walk(jaxpr, inputs, 0, collections.Counter())[:num_carry]
        before = inputs[first : first + num_carry]
        settled = [_joined(pair) for pair in zip(before, carry, strict=True)]
        if settled == before:
            break
        inputs[first : first + num_carry] = settled
    return _walk(jaxpr, inputs, times * equation.params["length"], counts)


def _joined(origins: Sequence[Origin]) -> Origin:
    """Data if any is, else the first parameter, else a constant."""
    if any(each is DATA for each in origins):
        return DATA
    return next((each for each in origins if isinstance(each, str)), CONSTANT)
