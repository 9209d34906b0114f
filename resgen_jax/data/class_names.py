"""Names of classes out of a file, for reports and flags."""

import pathlib

from resgen_jax.core import errors


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
            f"data.class_names is {path!r}, which cannot be read ({failure}); expected a text file "
            f"(UTF-8) with one name a line"
        ) from failure
    words = dict(line.split(maxsplit=1) for line in lines if len(line.split()) > 1)
    if found and all(name in words for name in found):
        return _distinct([words[name] for name in found])
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
    text = pathlib.Path(path).expanduser().read_text(encoding="utf-8-sig")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _way_out(num_names: int, found: tuple[str, ...]) -> str:
    if found[:1] == ("0",) and num_names == len(found) - 1:  # classes that files know by number
        return (
            "; if their labels count from 1, begin the file with a name for class 0, which no "
            "image has"
        )
    return "; expected one name a line, or a line `FOLDER NAME` for each"


def _is_synset(word: str) -> bool:
    return word[:1] == "n" and word[1:].isdigit()


def _distinct(names: list[str]) -> tuple[str, ...]:
    short = [name.partition(",")[0].strip() for name in names]
    return tuple(
        f"{name} ({label})" if name in short[:label] else name for label, name in enumerate(short)
    )
