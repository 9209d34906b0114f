"""The activations of a compiled step: what its forward pass keeps for the backward pass."""

import re
from collections.abc import Iterator

from resgen_jax.scaling.compile import hlo

# Another view of the same bytes, or a bundle of several.
VIEWS = ("bitcast", "tuple", "get-tuple-element", "opt-barrier")
# What holds other instructions' results, or none of its own.
NO_RESULTS = ("bitcast", "tuple", "while", "conditional", "call", "parameter", "constant")


def kept_bytes(module: hlo.Module) -> float:
    """Bytes of a chip's memory that wait between the passes, where they are the most.

    Those are what the forward pass writes and the backward pass reads, by the names that JAX gives
    the two, in the order in which the program runs; parameters cast to another type count too. Of
    microbatches, taken one after the other, counts the one that keeps the most.
    """
    bodies = [
        each.called("body")[0]
        for computation in module.computations.values()
        for each in computation.values()
        if each.opcode == "while"
    ]
    return max(_of(module.computations[name]) for name in (module.entry, *bodies))


def _of(computation: hlo.Computation) -> float:
    place = {name: index for index, name in enumerate(computation)}
    users: dict[str, list[hlo.Instruction]] = {}
    for each in computation.values():
        for name in each.operands:
            users.setdefault(name, []).append(each)
    changes: dict[int, float] = {}
    for each in computation.values():
        if each.opcode in NO_RESULTS or _pass_of(computation, each) != "forward":
            continue
        read_at = [
            place[user.name]
            for user in _readers(users, each.name)
            if _pass_of(computation, user) == "backward"
        ]
        is_taken_apart = any(
            user.opcode == "get-tuple-element" for user in users.get(each.name, ())
        )
        if read_at and not is_taken_apart:  # else its elements count
            size = sum(leaf.num_bytes for leaf in each.leaves() if leaf.is_in_hbm)
            # An element is there from when its whole is, wherever it is taken out.
            made_at = place[each.operands[0] if each.opcode == "get-tuple-element" else each.name]
            for at, change in ((made_at, size), (max(read_at) + 1, -size)):
                changes[at] = changes.get(at, 0.0) + change
    most = now = 0.0
    for at in sorted(changes):
        now += changes[at]
        most = max(most, now)
    return most


def _readers(users: dict[str, list[hlo.Instruction]], name: str) -> Iterator[hlo.Instruction]:
    """All that reads a value, through views and bundles too."""
    for user in users.get(name, ()):
        if user.opcode in VIEWS:
            yield from _readers(users, user.name)
        else:
            yield user


def _pass_of(computation: hlo.Computation, each: hlo.Instruction) -> str:
    """`forward`, `backward`, or neither: "", by its own name or that of what it views."""
    if found := re.search(r'op_name="([^"]*)"', each.attributes):
        name = found.group(1)
        return "backward" if "transpose(jvp" in name else "forward" if "jvp(" in name else ""
    source = computation.get(each.operands[0]) if each.operands else None
    return _pass_of(computation, source) if source and each.opcode in VIEWS else ""
