"""Pickles read as plain data by an interpreter that has no way to run what they name."""

import pickletools
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from resgen_jax.core import errors

# Names that checkpoints of weights mention beside the weights. Nothing of them is run or kept.
HARMLESS = re.compile(
    r"(builtins|__builtin__)\.(set|frozenset|dict|list|tuple|int|long|float|bool|str|unicode|bytes)"
    r"|collections\.(defaultdict|Counter|deque)"
    r"|argparse\.Namespace|_codecs\.encode|pathlib\.\w*Path"
    r"|numpy\.(dtype|ndarray|bool_|u?int\d+|float\d+)"
    r"|numpy\.(core|_core)\.multiarray\.(scalar|_reconstruct)"
    r"|torch\.(Size|device|Generator)|torch\.serialization\._get_layout"
    r"|(pytorch_)?lightning(_fabric)?\.[\w.]+|omegaconf\.[\w.]+"
)
MAX_SHOWN = 80
# What calls may be handed in all, of which each opcode brings its share.
FREE_HANDLED, MAX_HANDLED_EACH = 10_000, 4


class Name(NamedTuple):
    """What a pickle means when it names a function or class: the name, never the thing."""

    text: str


class Opaque:
    """Stands for an object that is not weights; holds nothing."""


# Called with the arguments that the pickle gives; the only code that a pickle can reach.
Builders = Mapping[str, Callable[..., Any]]


class Damaged(Exception):
    """The bytes are no pickle, or not a whole one."""


def load(file: Any, builders: Builders, look_up: Callable[[Any], Any], where: str) -> Any:
    """The plain data in the pickle at the file's position, which moves behind it.

    Only functions in `builders` are called, by name; `look_up` turns persistent ids into objects.
    Raises UserError for a pickle that wants to run anything else, Damaged for one cut short.
    """
    machine = _Machine(builders, look_up, where)
    try:
        return machine.run(file)
    except errors.UserError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as failure:
        raise Damaged(str(failure)) from failure
    except (RecursionError, MemoryError, OverflowError) as failure:
        raise Damaged(type(failure).__name__) from failure


def mapping(items: Any = ()) -> dict:
    """A dict of pairs; keys that are no text stand in it as `Opaque`, as some are slow to hash."""
    found = {}
    for key, value in items:
        if isinstance(key, list | tuple | dict) and not isinstance(key, Name):
            raise ValueError(f"a key is a {type(key).__name__}")
        found[key if isinstance(key, str) else Opaque()] = value
    return found


class _Machine:
    """The stack machine of the pickle format, one method or table entry for each opcode."""

    def __init__(self, builders: Builders, look_up: Callable[[Any], Any], where: str):
        self.builders, self.look_up, self.where = builders, look_up, where
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.steps = self.handled = 0

    def run(self, file: Any) -> Any:
        for opcode, argument, _ in pickletools.genops(file):
            name = opcode.name
            self.steps += 1
            if name == "STOP":
                return self.stack.pop()
            if name in PUSHES_ARGUMENT:
                self.stack.append(argument)
            elif name in PUSHES:
                self.stack.append(PUSHES[name]())
            elif name in ACTIONS:
                ACTIONS[name](self, argument)
            else:
                self.refuse(f"the opcode {name}")
        raise ValueError("no end")

    def refuse(self, what: str) -> NoReturn:
        raise errors.UserError(
            f"{self.where} wants to run {what[:MAX_SHOWN]}, refused: only weights are read, no "
            "programs; save it again as a state dict or as safetensors where you trust it"
        )

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def pop(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise ValueError("the stack is empty")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("a name that is no text")
        text = f"{module}.{name}"
        if text not in self.builders and not HARMLESS.fullmatch(text):
            self.refuse(text)
        self.stack.append(Name(text))

    def call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Name):
            self.refuse(f"a {type(function).__name__}")
        self.count(arguments)
        builder = self.builders.get(function.text)
        self.stack.append(Opaque() if builder is None else builder(*arguments))

    def count(self, arguments: Any) -> None:
        """Raises ValueError once calls are handed far more than the file holds.

        Each thing took an opcode to make, but few bytes hand the same long list to many calls.
        """
        held = [given for given in arguments if isinstance(given, list | tuple | dict)]
        self.handled += len(arguments) + sum(map(len, held))
        if self.handled > FREE_HANDLED + MAX_HANDLED_EACH * self.steps:
            raise ValueError("more would be made of it than it holds")

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update(mapping(zip(items[::2], items[1::2], strict=True)))
        elif not isinstance(target, Opaque):
            raise ValueError(f"items of a {type(target).__name__}")

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Opaque):
            raise ValueError(f"more of a {type(target).__name__}")

    def set_state(self) -> None:
        """Attributes are dropped: those of a state dict are notes about versions."""
        target, _ = self.pop(2)
        if not isinstance(target, dict | Opaque):
            self.refuse(f"code that sets the state of a {type(target).__name__}")
        self.stack.append(target)

    def recall(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def memorise(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def call_at_mark(self) -> None:
        function, *arguments = self.since_mark()
        self.call(function, arguments)

    def instance(self, text: str) -> None:
        arguments = self.since_mark()
        self.name(*text.split(" ", 1))
        self.call(self.stack.pop(), arguments)

    def call_with_names(self) -> None:
        function, arguments, named = self.pop(3)
        if named:
            self.refuse(f"{getattr(function, 'text', function)} with named arguments")
        self.call(function, arguments)

    def pop_one(self) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop(1)


INTEGERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4")
TEXTS = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
BYTES = ("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8")
PUSHES_ARGUMENT = frozenset((*INTEGERS, *TEXTS, *BYTES, "FLOAT", "BINFLOAT", "BYTEARRAY8"))
PUSHES: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": Opaque,
}


def _push_opaque(self: _Machine, _: Any) -> None:
    self.since_mark()
    self.stack.append(Opaque())


def _push_dict(self: _Machine, _: Any) -> None:
    items = self.since_mark()
    self.stack.append({})
    self.set_items(items)


ACTIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda self, _: None,
    "FRAME": lambda self, _: None,
    "MARK": lambda self, _: self.marks.append(len(self.stack)),
    "POP": lambda self, _: self.pop_one(),
    "POP_MARK": lambda self, _: self.since_mark(),
    "DUP": lambda self, _: self.stack.append(self.stack[-1]),
    "LIST": lambda self, _: self.stack.append(self.since_mark()),
    "TUPLE": lambda self, _: self.stack.append(tuple(self.since_mark())),
    "TUPLE1": lambda self, _: self.stack.append(tuple(self.pop(1))),
    "TUPLE2": lambda self, _: self.stack.append(tuple(self.pop(2))),
    "TUPLE3": lambda self, _: self.stack.append(tuple(self.pop(3))),
    "FROZENSET": _push_opaque,
    "DICT": _push_dict,
    "APPEND": lambda self, _: self.append(self.pop(1)),
    "APPENDS": lambda self, _: self.append(self.since_mark()),
    "SETITEM": lambda self, _: self.set_items(self.pop(2)),
    "SETITEMS": lambda self, _: self.set_items(self.since_mark()),
    "ADDITEMS": lambda self, _: self.since_mark(),
    "PUT": lambda self, index: self.memorise(index),
    "BINPUT": lambda self, index: self.memorise(index),
    "LONG_BINPUT": lambda self, index: self.memorise(index),
    "MEMOIZE": lambda self, _: self.memorise(None),
    "GET": lambda self, index: self.recall(index),
    "BINGET": lambda self, index: self.recall(index),
    "LONG_BINGET": lambda self, index: self.recall(index),
    "GLOBAL": lambda self, text: self.name(*text.split(" ", 1)),
    "STACK_GLOBAL": lambda self, _: self.name(*self.pop(2)),
    "REDUCE": lambda self, _: self.call(*self.pop(2)),
    "NEWOBJ": lambda self, _: self.call(*self.pop(2)),
    "NEWOBJ_EX": lambda self, _: self.call_with_names(),
    "OBJ": lambda self, _: self.call_at_mark(),
    "INST": lambda self, text: self.instance(text),
    "BUILD": lambda self, _: self.set_state(),
    "PERSID": lambda self, argument: self.stack.append(self.look_up(argument)),
    "BINPERSID": lambda self, _: self.stack.append(self.look_up(self.stack.pop())),
}
