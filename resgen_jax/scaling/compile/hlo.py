"""The text of a compiled program, taken apart: computations, instructions, lengths of loops."""

import math
import re
from typing import NamedTuple

# Bytes of an element; what is not here (tokens, contexts of the compiler's) takes none.
ELEMENT_BYTES = {
    **{f"{kind}{bits}": bits / 8 for kind in "su" for bits in (2, 4, 8, 16, 32, 64)},
    **{"pred": 1, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16},
}
_LEAF = re.compile(r"\b([a-z]\w*)\[([\d,<=]*)\](?:\{([^}]*)\})?")
_HEADING = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_NAME = re.compile(r"%([\w.\-]+)")


class Leaf(NamedTuple):
    """One array of an instruction's result."""

    num_bytes: float
    is_in_hbm: bool  # and not in a memory of the chip's own, which the layout says by S(1) etc.
    sizes: tuple[int, ...]


class Instruction(NamedTuple):
    """One line: `name = shape opcode(operands), attributes`."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    argument: str  # the operands as written; the value of a constant
    attributes: str
    is_root: bool

    def leaves(self) -> list[Leaf]:
        """The arrays of the result, in order."""
        return leaves(self.shape)

    def called(self, attribute: str) -> list[str]:
        """The computations that an attribute names, as in `calls=%a` or `branches={%a, %b}`."""
        found = re.search(rf"\b{attribute}=(\{{[^}}]*\}}|%[\w.\-]+)", self.attributes)
        return _NAME.findall(found.group(1)) if found else []


Computation = dict[str, Instruction]


class Module(NamedTuple):
    """A whole program, as `Compiled.as_text()` writes it."""

    computations: dict[str, Computation]
    entry: str
    num_partitions: int


def parse(text: str) -> Module:
    """Raises ValueError for a text without an entry computation."""
    computations: dict[str, Computation] = {}
    entry, inside = "", None
    for line in text.splitlines():
        if inside is None:
            heading = _HEADING.match(line)
            if heading and not line.startswith("HloModule"):
                inside = computations.setdefault(heading.group(2), {})
                entry = heading.group(2) if heading.group(1) else entry
        elif line.startswith("}"):
            inside = None
        elif found := _instruction(line):
            inside[found.name] = found
    if not entry:
        raise ValueError("the text holds no ENTRY computation: it is no compiled program")
    partitions = re.search(r"\bnum_partitions=(\d+)", text)
    return Module(computations, entry, int(partitions.group(1)) if partitions else 1)


def leaves(shape: str) -> list[Leaf]:
    """The arrays of a shape as written, a tuple's in order."""
    found = []
    for element, sizes, layout in _LEAF.findall(shape):
        numbers = tuple(int(size.strip("<=")) for size in sizes.split(",") if size)
        size = ELEMENT_BYTES.get(element, 1 if element.startswith("f8") else 0)
        is_in_hbm = not re.search(r"S\([1-9]", layout)
        found.append(Leaf(float(math.prod(numbers) * size), is_in_hbm, numbers))
    return found


def branches(conditional: Instruction) -> list[str]:
    """The computations of which a conditional runs one."""
    both = conditional.called("true_computation") + conditional.called("false_computation")
    return conditional.called("branch_computations") or both


def call_targets(each: Instruction) -> list[str]:
    """The computation of a plain call; other instructions apply theirs to single elements."""
    return each.called("to_apply") if each.opcode == "call" else []


def root_of(computation: Computation) -> Instruction:
    """The instruction whose result is the computation's."""
    (root,) = [each for each in computation.values() if each.is_root]
    return root


def num_iterations(module: Module, computation: Computation, loop: Instruction) -> int | None:
    """How often a while loop runs, or None if the text does not say.

    Either the compiler wrote it down, or the loop counts up by a constant and stops below another:
    in ones as a `lax.scan` does, or in twos where the compiler took two turns at a time.
    """
    if known := re.search(r'"known_trip_count":\s*\{"n":"(\d+)"', loop.attributes):
        return int(known.group(1))
    condition = module.computations[loop.called("condition")[0]]
    constants = [_integer(each) for each in condition.values() if each.opcode == "constant"]
    bounds = [bound for bound in constants if bound is not None]
    place = _counter(condition)
    if len(bounds) != 1 or place is None or not _compares_below(module, condition):
        return None
    body = module.computations[loop.called("body")[0]]
    stride = _stride(body, place)
    if not stride:
        return None
    return math.ceil((bounds[0] - (_start(computation, place, loop) or 0)) / stride)


def _instruction(line: str) -> Instruction | None:
    found = _INSTRUCTION.match(line)
    if not found:
        return None
    is_root, name, rest = found.groups()
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.find(" ")
    shape, rest = rest[:end], rest[end:].lstrip()
    opcode, bracket, _ = rest.partition("(")
    if not bracket:
        return None
    end = _closing(rest, len(opcode))
    argument, attributes = rest[len(opcode) + 1 : end], rest[end + 1 :]
    operands = tuple(_NAME.findall(argument))
    return Instruction(name, shape, opcode, operands, argument, attributes, bool(is_root))


def _closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return len(text)


def _integer(constant: Instruction) -> int | None:
    is_scalar = re.match(r"[su](32|64)\[\]", constant.shape)
    is_number = re.fullmatch(r"-?\d+", constant.argument.strip())
    return int(constant.argument) if is_scalar and is_number else None


def _compares_below(module: Module, condition: Computation) -> bool:
    """Whether the condition is `counter < bound`, written out or as a fusion."""
    root = root_of(condition)
    if root.opcode == "fusion":
        root = root_of(module.computations[root.called("calls")[0]])
    return root.opcode == "compare" and "direction=LT" in root.attributes


def _counter(condition: Computation) -> int | None:
    """Which of the carried values the condition compares, if it reads but one integer."""
    places = [
        re.search(r"index=(\d+)", each.attributes)
        for each in condition.values()
        if each.opcode == "get-tuple-element" and re.match(r"[su](32|64)\[\]", each.shape)
    ]
    return int(places[0].group(1)) if len(places) == 1 and places[0] else None


def _start(computation: Computation, place: int, loop: Instruction) -> int | None:
    """The counter before the loop, where it is a constant; the compiler may peel first turns."""
    value = _element(computation, computation.get(loop.operands[0]), place)
    return _integer(value) if value is not None and value.opcode == "constant" else None


def _stride(body: Computation, place: int) -> int | None:
    """What each turn adds to the counter, where that is a constant."""
    added = _element(body, root_of(body), place)
    if added is None or added.opcode != "add":
        return None
    constants = [body[name] for name in added.operands if body[name].opcode == "constant"]
    return _integer(constants[0]) if len(constants) == 1 else None


def _element(
    computation: Computation, carried: Instruction | None, place: int
) -> Instruction | None:
    """What makes one element of a tuple, copies left out."""
    if carried is None or carried.opcode != "tuple":
        return None
    value = computation.get(carried.operands[place])
    while value is not None and value.opcode in ("copy", "bitcast"):
        value = computation.get(value.operands[0])
    return value
