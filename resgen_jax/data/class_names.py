"""Names of classes out of a file, for reports and flags."""

import pathlib

from resgen_jax.core import errors
from resgen_jax.data import paths, walk


def read(path: str, found: tuple[str, ...]) -> tuple[str, ...]:
    """Names for the classes that the files call `found`, in that order.

    Either one name a line, in the order of the classes; or lines such as `n01440764 tench, Tinca
    tinca` (ImageNet's LOC_synset_mapping.txt and synset_words.txt), whose first word is what the
    files call the class. What stands before the comma is taken; where two classes would then share
    a name, the later one has its own number behind it. Raises UserError if names are missing.
    """
    try:
        lines = pathlib.Path(paths.expanded(path)).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as failure:
        raise errors.UserError(
            f"data.class_names is {path!r}, which cannot be read ({failure}); expected a text file "
            f"with one name a line"
        ) from failure
    lines = [line.strip() for line in lines if line.strip()]
    words = dict(line.split(maxsplit=1) for line in lines if len(line.split()) > 1)
    by_name = {walk.class_name(word): name for word, name in words.items()}
    folders = [walk.class_name(name) for name in found]
    if found and all(name in by_name for name in folders):
        return _distinct([by_name[name] for name in folders])
    if len(lines) != len(found):
        raise errors.UserError(
            f"{path} names {len(lines)} classes, but there are {len(found)}"
            + (f" ({found[0]!r}, ...)" if found else "")
            + "; expected one name a line, or a line `FOLDER NAME` for each"
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
        lines = pathlib.Path(paths.expanded(path)).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return 0  # `read` tells
    return sum(bool(line.strip()) for line in lines)


def _is_synset(word: str) -> bool:
    return word[:1] == "n" and word[1:].isdigit()


def _distinct(names: list[str]) -> tuple[str, ...]:
    short = [name.partition(",")[0].strip() for name in names]
    return tuple(
        f"{name} ({label})" if name in short[:label] else name for label, name in enumerate(short)
    )
