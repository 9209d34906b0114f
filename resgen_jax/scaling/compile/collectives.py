"""The collectives of a compiled program: kind, bytes, the chips that take part, how often."""

import re
from typing import NamedTuple

import numpy as np

from resgen_jax.scaling.compile import hlo

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
UNFINISHED = "async_collective_fusion_config"


class Collective(NamedTuple):
    """One collective, as often as a step runs it."""

    kind: str
    num_bytes: float  # of the array that is whole after it, or before it, on one chip
    group: tuple[int, ...]  # the first group of places in the mesh
    times: int = 1


def read(module: hlo.Module) -> tuple[list[Collective], list[str]]:
    """All of one run of a program, and the loops of unknown length, counted as if they ran once.

    Of a cond, those of the branch that moves the most.
    """
    unknown: list[str] = []
    return _of(module, module.entry, unknown, set()), unknown


def group_of(attributes: str, num_partitions: int) -> tuple[int, ...]:
    """The first group of a collective, from any of the ways in which groups are written.

    Of a permutation, its shortest move: a ring's other pairs may go once around it.
    """
    if pairs := re.search(r"source_target_pairs=\{(\{[\d,{}]*\})\}", attributes):
        moves = re.findall(r"(\d+),(\d+)", pairs.group(1))
        return min(((int(a), int(b)) for a, b in moves), key=lambda move: abs(move[1] - move[0]))
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\](.*?)\{([^}]*)\}", attributes):
        return _mesh_group(*mesh.groups())
    if iota := re.search(r"replica_groups=\[([\d,]+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", attributes):
        shape = _numbers(iota.group(1))
        return tuple(_iota(iota.group(2)).reshape(shape[0], -1)[0].tolist())
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", attributes):
        return _numbers(listed.group(1))
    return tuple(range(num_partitions))


def _mesh_group(axes: str, devices: str, names: str) -> tuple[int, ...]:
    """Groups along axes of a mesh: `mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'a'}`."""
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", axes))
    shape = tuple(int(size) for size in sizes.values())
    order = re.search(r"device_ids=\((.*?\]?(?:T\([\d,]+\))?)\)\s*$", devices.strip())
    places = _iota(order.group(1)) if order else np.arange(int(np.prod(shape)))
    grouped = re.findall(r"'(\w+)'", names)
    chosen = tuple(slice(None) if name in grouped else 0 for name in sizes)
    return tuple(places.reshape(shape)[chosen].ravel().tolist())


def _iota(text: str) -> np.ndarray:
    """`[2,4]T(1,0)`: numbers in that shape, turned."""
    sizes, _, turned = text.partition("T")
    shape = _numbers(sizes.strip("[]"))
    places = np.arange(int(np.prod(shape))).reshape(shape)
    return places.transpose(_numbers(turned.strip("()"))) if turned else places


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _of(module: hlo.Module, name: str, unknown: list[str], seen: set[str]) -> list[Collective]:
    """Those of one computation and of all that it calls.

    A collective that runs beside other work is in several fusions, some of them in loops that it
    runs beside: it counts where it is `seen` first, where it begins.
    """
    computation, found = module.computations[name], []
    for each in computation.values():
        kind = each.opcode.removesuffix("-start")
        if kind in KINDS:
            channel = re.search(r"channel_id=(\d+)", each.attributes)
            if channel and UNFINISHED in each.attributes:
                mark = f"{kind} {channel.group(1)}"
                if mark in seen:
                    continue
                seen.add(mark)
            found.append(_one(module, name, each, kind))
        elif each.opcode == "while":
            times = hlo.num_iterations(module, computation, each)
            inside = _of(module, each.called("body")[0], unknown, set(seen))
            if times is None and inside:
                unknown.append(each.name)
            found += [one._replace(times=one.times * (times or 1)) for one in inside]
        elif each.opcode == "conditional":
            branches = [_of(module, branch, unknown, set(seen)) for branch in hlo.branches(each)]
            found += max(branches, key=lambda some: sum(one.num_bytes * one.times for one in some))
        else:
            for callee in (*each.called("calls"), *hlo.call_targets(each)):
                found += _of(module, callee, unknown, seen)
    return found


def _one(module: hlo.Module, name: str, each: hlo.Instruction, kind: str) -> Collective:
    group = group_of(each.attributes, module.num_partitions)
    sizes = [leaf.num_bytes for leaf in each.leaves()]
    if each.opcode == "all-gather-start":  # holds its operands too
        sizes = sizes[len(sizes) // 2 :]
    elif each.opcode == "collective-permute-start":
        sizes = sizes[:1]
    num_bytes = sum(sizes, start=0.0)
    if kind == "reduce-scatter":
        num_bytes *= len(group)
    elif name.startswith("all-reduce-scatter"):  # the TPU compiler's way of writing one
        kind = "reduce-scatter"
    return Collective(kind, num_bytes, group)
