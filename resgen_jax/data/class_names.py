"""Names of classes out of a file, for reports and flags."""

import difflib
import numbers
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Int32

from resgen_jax.core import checked, errors
from resgen_jax.data import walk
from resgen_jax.io import paths

MOST_NAMED = 10  # classes in a message


def read(path: str, found: tuple[str, ...]) -> tuple[str, ...]:
    """Names for the classes that the files call `found`, in that order.

    Either one name a line, in the order of the classes; or lines such as `n01440764 tench, Tinca
    tinca` (ImageNet's LOC_synset_mapping.txt and synset_words.txt), whose first word is what the
    files call the class. What stands before the comma is taken; where two classes would then share
    a name, the later one has its own number behind it. Raises UserError if names are missing.
    """
    try:
        lines = _lines(path)
    except (OSError, UnicodeDecodeError) as failure:
        raise errors.UserError(
            f"data.class_names is {path!r}, which cannot be read ({errors.reason(failure)}); "
            f"expected a text file (UTF-8) with one name a line"
        ) from failure
    words = dict(line.split(maxsplit=1) for line in lines if len(line.split()) > 1)
    by_name = {walk.class_name(word): name for word, name in words.items()}
    folders = [walk.class_name(name) for name in found]
    if found and all(name in by_name for name in folders):
        return _distinct([by_name[name] for name in folders])
    if len(lines) != len(found):
        raise errors.UserError(
            f"{path} names {len(lines)} classes, but there are {len(found)}"
            + (f" ({found[0]!r}, ...)" if found else "")
            + _way_out(len(lines), found)
        )
    # Files without names of their own have numbers; a list by folder is then in folder order.
    if len(words) == len(lines) and all(_is_synset(line.split()[0]) for line in lines):
        lines = [words[name] for name in sorted(words)]
    return _distinct(lines)


def count(path: str) -> int:
    """How many classes the file names, for shards that do not say it; 0 without a file."""
    if not path:
        return 0
    try:
        return len(_lines(path))
    except (OSError, UnicodeDecodeError):
        return 0  # `read` tells


def _lines(path: str) -> list[str]:
    """The lines that hold something, without a mark of byte order. Raises OSError."""
    text = pathlib.Path(paths.expanded(path)).read_text(encoding="utf-8-sig")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _way_out(num_names: int, found: tuple[str, ...]) -> str:
    if found[:1] == ("0",) and num_names == len(found) - 1:  # classes that files know by number
        return (
            "; if their labels count from 1, begin the file with a name for class 0, which no "
            "image has"
        )
    return "; expected one name a line, or a line `FOLDER NAME` for each"


def labels_of(classes: Any, names: Sequence[str]) -> Int32[Array | np.ndarray, "n"]:
    """The numbers of classes given by number, by name, or a mix of both; of one or of many.

    Raises UserError, listing names that are near, for what is no class.
    """
    if isinstance(classes, np.ndarray) and classes.dtype.kind == "U":
        classes = classes.tolist()
    if isinstance(classes, str | numbers.Number) or getattr(classes, "ndim", 1) == 0:
        classes = [classes]
    if isinstance(classes, list | tuple):
        classes = [_number(one, names) if isinstance(one, str) else one for one in classes]
    return checked.labels(classes, len(names))


def _number(name: str, names: Sequence[str]) -> int:
    if name in names:
        return list(names).index(name)
    raise errors.UserError(f"no class is named {name!r}; {near(name, names)}")


def near(word: str, names: Sequence[str]) -> str:
    """A hint with the names that are near, or else with the first ones."""
    by_case = {name.casefold(): name for name in reversed(names)}
    folded = word.casefold()
    close = difflib.get_close_matches(folded, by_case, n=3, cutoff=0.6)
    close += [name for name in by_case if folded and folded in name and name not in close]
    if close:
        return f"near it: {', '.join(repr(by_case[name]) for name in close[:MOST_NAMED])}"
    more = f", ... ({len(names):,} in all)" if len(names) > MOST_NAMED else ""
    return f"known: {', '.join(names[:MOST_NAMED])}{more}"


def _is_synset(word: str) -> bool:
    return word[:1] == "n" and word[1:].isdigit()


def _distinct(names: list[str]) -> tuple[str, ...]:
    short = [name.partition(",")[0].strip() for name in names]
    return tuple(
        f"{name} ({label})" if name in short[:label] else name for label, name in enumerate(short)
    )
