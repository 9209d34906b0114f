"""How many bytes a compiled program reads from a chip's memory and writes to it: an estimate."""

import re
from collections.abc import Iterator

from resgen_jax.scaling.compile import hlo

# Nothing moves, or what moves is counted where it begins.
FREE = {
    *("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "iota"),
    *("partition-id", "replica-id", "copy-done", "slice-done", "async-done"),
    *("all-gather-done", "all-reduce-done", "collective-permute-done"),
}
FREE_CALLS = re.compile(
    r'custom_call_target="(AllocateBuffer|ConcatBitcast|AssumeGatherIndicesInBound|'
    r'GatherScatterIndicesBitpacked|Sharding|SPMD\w*)"'
)
SLICES = ("dynamic-slice", "slice", "gather")
UPDATES = {"dynamic-update-slice": 1, "scatter": -1}  # and which operand is the update
SAME = ("bitcast", "reshape")
WHOLE = float("inf")


def traffic(module: hlo.Module) -> float:
    """Bytes of one run: what every instruction takes and gives, without what stays on the chip.

    Of a slice counts only the slice, of an update in place only the update; of a cond the branch
    that moves the most; a loop of unknown length counts once.
    """
    return _of_computation(module, module.entry)


def moved(module: hlo.Module, computation: hlo.Computation, each: hlo.Instruction) -> float:
    """Bytes that one instruction, no loop or call, reads and writes."""
    if each.opcode in FREE or FREE_CALLS.search(each.attributes):
        return 0.0
    if each.opcode in ("copy-start", "slice-start"):
        # From one memory to another; the result names both ends, and a slice has the whole source.
        ends = [leaf for leaf in each.leaves() if leaf.sizes]
        size = min((leaf.num_bytes for leaf in ends), default=0.0)
        return size * sum(leaf.is_in_hbm for leaf in ends)
    total = 0.0
    for place, operand in enumerate(each.operands):
        source = computation[operand]
        size = sum(leaf.num_bytes for leaf in source.leaves() if leaf.is_in_hbm)
        total += min(size, _read(module, each, place))
    return total + sum(_written(module, computation, each))


def _of_computation(module: hlo.Module, name: str) -> float:
    computation, total = module.computations[name], 0.0
    for each in computation.values():
        if each.opcode == "while":
            times = hlo.num_iterations(module, computation, each) or 1
            total += times * _of_computation(module, each.called("body")[0])
        elif each.opcode == "conditional":
            total += max(_of_computation(module, branch) for branch in hlo.branches(each))
        elif each.opcode == "call":
            total += sum(_of_computation(module, callee) for callee in hlo.call_targets(each))
        else:
            total += moved(module, computation, each)
    return total


def _read(module: hlo.Module, user: hlo.Instruction, place: int) -> float:
    """At most so many bytes of its operand `place` does an instruction read."""
    if user.opcode in SLICES and place == 0:
        return _bytes(user)
    if user.opcode in UPDATES and place == 0:
        return 0.0
    if user.opcode != "fusion":
        return WHOLE
    inner = module.computations[user.called("calls")[0]]
    parameter = next(
        (
            one.name
            for one in inner.values()
            if one.opcode == "parameter" and one.argument.strip() == str(place)
        ),
        "",
    )
    return sum(_reads(module, inner, parameter), start=0.0)


def _reads(module: hlo.Module, inner: hlo.Computation, name: str) -> Iterator[float]:
    """What each user of a value inside a fusion reads of it; fusions hold fusions."""
    for user in inner.values():
        for place, operand in enumerate(user.operands):
            if operand == name and user.opcode in SAME:
                yield from _reads(module, inner, user.name)
            elif operand == name:
                yield _read(module, user, place)


def _written(
    module: hlo.Module, computation: hlo.Computation, each: hlo.Instruction
) -> Iterator[float]:
    """Bytes written for each array of the result that lies in memory."""
    leaves = each.leaves()
    updates = _updates(module, computation, each)
    for place, leaf in enumerate(leaves):
        size = updates[place] if len(updates) == len(leaves) else WHOLE
        yield min(size, leaf.num_bytes) if leaf.is_in_hbm else 0.0


def _updates(
    module: hlo.Module, computation: hlo.Computation, each: hlo.Instruction
) -> list[float]:
    """At most so many bytes are new in each array of the result."""
    if each.opcode in SAME and each.operands[0] in computation:
        return _updates(module, computation, computation[each.operands[0]])
    if each.opcode in UPDATES:
        update = computation.get(each.operands[UPDATES[each.opcode]])
        return [_bytes(update) if update else WHOLE]
    if each.opcode == "tuple":
        parts = [_updates(module, computation, computation[name]) for name in each.operands]
        return [part[0] if len(part) == 1 else WHOLE for part in parts]
    if each.opcode == "fusion":
        inner = module.computations[each.called("calls")[0]]
        return _updates(module, inner, hlo.root_of(inner))
    return [WHOLE] * len(each.leaves())


def _bytes(each: hlo.Instruction) -> float:
    return sum((leaf.num_bytes for leaf in each.leaves()), start=0.0)
