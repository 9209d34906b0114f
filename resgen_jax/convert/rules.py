"""From published names to ours by a table of rules: complete, or refused with all that is wrong."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from resgen_jax.core import errors, trees

PyTree = Any
Transform = Callable[..., np.ndarray]
MAX_NAMES = 12  # of each kind of problem in a message
NOT_FINITE = "not finite (download the file again, or take an earlier checkpoint)"


class Rule(NamedTuple):
    """The parameter at the path `target` is `transform` of the arrays named in `sources`."""

    target: str
    sources: tuple[str, ...]
    transform: Transform
    must_be_finite: bool = True  # one NaN in a weight is a NaN in every picture


def apply(
    table: Iterable[Rule],
    arrays: Mapping[str, np.ndarray],
    shapes: PyTree,
    *,
    where: str,
    ignored: Sequence[str] = (),
) -> PyTree:
    """The tree of `shapes` filled from `arrays`, nested dicts of NumPy arrays, float32 by default.

    Leaves of `shapes` are tuples, or have a shape and a dtype. Every array has to be used exactly
    once, or its whole name to match one of the regular expressions `ignored`; every parameter has
    to be filled, in its shape, by finite numbers unless its rule says otherwise. Raises UserError
    that names all that is not so, beginning by `where`.
    """
    table, targets = list(table), _targets(shapes)
    problems: dict[str, list[str]] = {}

    def report(kind: str, what: str) -> None:
        problems.setdefault(kind, []).append(what)

    _check_names(table, arrays, targets, ignored, report)
    filled = {}
    for rule in table:
        if rule.target in targets and all(source in arrays for source in rule.sources):
            shape, dtype = targets[rule.target]
            for broken in _not_finite(rule, arrays, dtype):
                report(NOT_FINITE, broken)
            if odd := _odd_ones(rule.sources, arrays):
                report("of another shape than their like", odd)
                continue
            try:
                value = rule.transform(*(arrays[source] for source in rule.sources))
            except ValueError as failure:
                report("do not fit", f"{', '.join(rule.sources)} ({errors.reason(failure)})")
                continue
            if value.shape != shape:
                text = f"{_origin(rule)}{rule.target} is {value.shape}, expected {shape}"
                report("of another shape", text)
            elif not _is_castable(value.dtype, dtype):
                report("of another type", f"{rule.target} is {value.dtype}, expected {dtype}")
            else:
                with np.errstate(over="ignore"):  # told above, or as the rule has it
                    filled[rule.target] = np.ascontiguousarray(value, dtype).reshape(shape)
    if problems:
        listed = "; ".join(f"{kind}: {_some(names)}" for kind, names in problems.items())
        raise errors.UserError(f"{where}: {listed}")
    return nest(filled)


def nest(flat: Mapping[str, Any]) -> PyTree:
    """Nested dicts from leaves by their paths a/b/c."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, last = path.split("/")
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = leaf
    return tree


def same(array: np.ndarray) -> np.ndarray:
    """The array as it is in the file."""
    return array


def transposed(matrix: np.ndarray) -> np.ndarray:
    """PyTorch's linear weight (out, in) as ours (in, out)."""
    if matrix.ndim != 2:
        raise ValueError(f"has {matrix.ndim} dimensions, expected 2")
    return matrix.T


def kernel(array: np.ndarray) -> np.ndarray:
    """PyTorch's convolution weight (out, in, rows, columns) as ours (rows, columns, in, out)."""
    if array.ndim != 4:
        raise ValueError(f"has {array.ndim} dimensions, expected 4")
    return array.transpose(2, 3, 1, 0)


def flat(array: np.ndarray) -> np.ndarray:
    """All numbers in one dimension."""
    return array.reshape(-1)


def only(array: np.ndarray) -> np.ndarray:
    """What lies along a first axis of length 1."""
    if not array.ndim or len(array) != 1:
        raise ValueError(f"has the shape {array.shape}, expected 1 in front")
    return array[0]


def stacked(*arrays: np.ndarray) -> np.ndarray:
    """Arrays of one shape along a new first axis."""
    return np.stack(arrays)


def stacked_by(transform: Transform) -> Transform:
    """Each array transformed, then all along a new first axis."""
    return lambda *arrays: np.stack([transform(array) for array in arrays])


def equal(*arrays: np.ndarray) -> np.ndarray:
    """One array that was saved several times; ValueError where the copies differ."""
    first, *others = arrays
    for index, other in enumerate(others, 1):
        if not np.array_equal(first, other, equal_nan=True):
            raise ValueError(f"copies 0 and {index} of what should be one array differ")
    return first


def copy(source: str, target: str, transform: Transform = same) -> Rule:
    """The rule for a parameter that is one array."""
    return Rule(target, (source,), transform)


def conv(source: str, target: str) -> list[Rule]:
    """The rules for a convolution with a bias."""
    return [
        copy(f"{source}.weight", f"{target}/kernel", kernel),
        copy(f"{source}.bias", f"{target}/bias"),
    ]


def dense(source: str, target: str) -> list[Rule]:
    """The rules for a linear layer with a bias."""
    return [
        copy(f"{source}.weight", f"{target}/kernel", transposed),
        copy(f"{source}.bias", f"{target}/bias"),
    ]


def norm(source: str, target: str) -> list[Rule]:
    """The rules for a normalisation with scale and bias."""
    return [
        copy(f"{source}.weight", f"{target}/scale"),
        copy(f"{source}.bias", f"{target}/bias"),
    ]


def _targets(shapes: PyTree) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and dtype of each parameter by its path."""
    as_structs = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf, np.float32) if isinstance(leaf, tuple) else leaf,
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )
    named = trees.named_leaves(as_structs)
    return {path: (tuple(leaf.shape), np.dtype(leaf.dtype)) for path, leaf in named.items()}


def _check_names(table, arrays, targets, ignored, report) -> None:
    """Reports what is missing, left over, or named twice, on either side."""
    sources = [source for rule in table for source in rule.sources]
    filled = [rule.target for rule in table]
    patterns = [re.compile(pattern) for pattern in ignored]
    for name in dict.fromkeys(sources):
        if name not in arrays:
            report("missing", name)
        elif sources.count(name) > 1:
            report("used twice", name)
    used = set(sources)
    for name in arrays:
        if name not in used and not any(pattern.fullmatch(name) for pattern in patterns):
            report("not used", name)
    for path in targets.keys() - set(filled):
        report("not filled", path)
    for path in dict.fromkeys(filled):
        if path not in targets:
            report("unknown here", path)
        elif filled.count(path) > 1:
            report("filled twice", path)


def not_finite(array: np.ndarray, dtype: np.dtype | None = None) -> str:
    """How many of its numbers are NaN or infinite, as `dtype` where one is given; "" for none."""
    if not jax.numpy.issubdtype(array.dtype, np.floating):
        return ""
    with np.errstate(over="ignore"):
        cast = array.astype(dtype or array.dtype, copy=False)
    num_broken = array.size - np.count_nonzero(np.isfinite(cast))
    return f"{num_broken} of {array.size} numbers" if num_broken else ""


def _not_finite(rule: Rule, arrays: Mapping[str, np.ndarray], dtype: np.dtype) -> list[str]:
    """Those of a rule's arrays that would bring NaN or infinity, and how many of them."""
    if not rule.must_be_finite or not jax.numpy.issubdtype(dtype, np.floating):
        return []
    found = {source: not_finite(arrays[source], dtype) for source in rule.sources}
    return [f"{source} ({what})" for source, what in found.items() if what]


def _odd_ones(sources: Sequence[str], arrays: Mapping[str, np.ndarray]) -> str:
    """Which of the arrays of one parameter differ in shape from most of them; "" for none."""
    shapes = [arrays[source].shape for source in sources]
    usual = max(shapes, key=shapes.count)
    pairs = list(zip(sources, shapes, strict=True))
    odd = [f"{source} {shape}" for source, shape in pairs if shape != usual]
    one = sources[shapes.index(usual)]
    return f"{', '.join(odd)} beside {one} {usual}" if odd else ""


def _origin(rule: Rule) -> str:
    """The array's own name, which is what the owner of the file knows."""
    first, *others = rule.sources
    if first == rule.target:
        return ""
    return f"{first} and its like as " if others else f"{first} as "


def _is_castable(given: np.dtype, wanted: np.dtype) -> bool:
    """Floats of any width into floats, integers into integers."""
    return any(
        jax.numpy.issubdtype(given, kind) and jax.numpy.issubdtype(wanted, kind)
        for kind in (np.floating, np.integer, np.bool_)
    )


def _some(names: Sequence[str]) -> str:
    names = sorted(names)
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
