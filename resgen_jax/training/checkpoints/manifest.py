"""The manifest beside a checkpoint's arrays: what they are, their checksums, where the data stood.

orbax loads a flipped byte without a word, so every array's checksum is kept here, and the manifest
carries a digest of itself. What encloses it stays for good: `format`, `written_by`, `content` and
the `digest` of these three, so that a newer format can be told from damage.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

import resgen_jax
from resgen_jax.core import errors, trees
from resgen_jax.data import stream
from resgen_jax.io import json_files

PyTree = Any
Arrays = dict[str, Any]  # path, which begins with the field of the train state -> array
FORMAT = 2  # 1 had no number, counted rows of each process and could not owe a measurement


class DamagedError(Exception):
    """A checkpoint whose bytes are not those that were saved."""


_checksums = jax.jit(trees.checksums)


def flatten(fields: Mapping[str, PyTree]) -> Arrays:
    """The leaves of all fields by path."""
    arrays = trees.named_leaves(dict(fields))
    if len(arrays) != len(jax.tree.leaves(fields)):
        raise ValueError("two leaves of the state have the same path")
    return arrays


def unflatten(arrays: Arrays, like: Mapping[str, PyTree]) -> dict[str, PyTree]:
    """The fields with the structure of `like` and the leaves of `arrays`."""
    leaves = [arrays[path] for path in trees.named_leaves(dict(like))]
    return jax.tree.unflatten(jax.tree.structure(dict(like)), leaves)


def make(
    arrays: Arrays, facts: Mapping[str, Any], iterator_state: Any, is_measured: bool = True
) -> dict[str, Any]:
    """The record of `arrays`, sealed; waits until they are computed."""
    sums = jax.device_get(_checksums(arrays))
    content = {
        "arrays": {path: [*_signature(leaf), int(sums[path])] for path, leaf in arrays.items()},
        "facts": dict(facts),
        "iterators": _of_all_processes(json.dumps(iterator_state)),
        "is_measured": is_measured,
    }
    return seal(content, FORMAT, resgen_jax.__version__)


def seal(content: Mapping[str, Any], number: int, version: str) -> dict[str, Any]:
    """The content in what encloses it, whatever its format."""
    enclosed = {"format": number, "written_by": version, "content": content}
    return {**enclosed, "digest": _digest(enclosed)}


def unseal(record: Any, where: str) -> dict[str, Any]:
    """The content of a record; raises DamagedError unless its digest fits.

    Raises UserError if it is whole, but of a newer format than this version reads.
    """
    try:
        enclosed = {name: value for name, value in record.items() if name != "digest"}
        content, digest, number = record["content"], record["digest"], record.get("format", 1)
    except (TypeError, KeyError, AttributeError) as error:
        raise DamagedError("its record is incomplete") from error
    if digest != _digest(content if set(enclosed) == {"content"} else enclosed):
        raise DamagedError("its record was changed")
    if number > FORMAT:
        raise errors.UserError(
            f"checkpoint {where} has format {number}, written by resgen_jax "
            f"{record['written_by']}; this is {resgen_jax.__version__}, which reads formats up to "
            f"{FORMAT}: install that version or a later one, or use another --workdir"
        )
    if not _is_whole(content):
        raise DamagedError("its record lacks arrays, facts or where the data stood")
    return {"is_measured": True, **content}


def _is_whole(content: Any) -> bool:
    """Whether a content, sealed or not, is what `make` makes."""
    if not isinstance(content, dict):
        return False
    arrays, facts, states = (content.get(name) for name in ("arrays", "facts", "iterators"))
    if not (isinstance(arrays, dict) and isinstance(facts, dict) and isinstance(states, list)):
        return False
    return (
        bool(states)
        and all(isinstance(state, str) for state in states)
        and all(_is_entry(entry) for entry in arrays.values())
    )


def _is_entry(entry: Any) -> bool:
    is_list = isinstance(entry, list) and len(entry) == 3 and isinstance(entry[0], list)
    return is_list and all(isinstance(number, int) for number in (*entry[0], entry[2]))


def check_structure(content: Mapping[str, Any], fields: Mapping[str, PyTree], where: str) -> None:
    """Raises UserError, naming the first difference, if other arrays were saved in `fields`."""
    expected = flatten(fields)
    saved = {path: entry for path, entry in content["arrays"].items() if _field(path) in fields}
    check_same(saved, expected, where)


def check_same(saved: Mapping[str, Sequence[Any]], expected: Arrays, where: str) -> None:
    """Raises UserError, naming the first difference, if these arrays were saved otherwise."""
    differences = differing(saved, expected)
    if differences:
        more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        raise errors.UserError(
            f"checkpoint {where} belongs to another configuration: {differences[0]}{more}; "
            "use the configuration it was trained with, or another --workdir"
        )


def differing(saved: Mapping[str, Sequence[Any]], expected: Arrays) -> list[str]:
    """`PATH is FORM there, FORM here` of all arrays whose saved signature is another one."""
    differences = []
    for path in sorted(expected.keys() | saved.keys()):
        here = _describe(_signature(expected[path])) if path in expected else "nothing"
        there = _describe(saved[path][:2]) if path in saved else "nothing"
        if here != there:
            differences.append(f"{path} is {there} there, {here} here")
    return differences


def check_facts(content: Mapping[str, Any], facts: Mapping[str, Any], where: str) -> None:
    """Raises UserError, naming the fact, if a run with other facts saved the checkpoint."""
    for name, here in facts.items():
        there = content["facts"].get(name)
        if there != here:
            raise errors.UserError(
                f"checkpoint {where} was saved with {name} {there!r}, this run has {here!r}; "
                "set it back, or use another --workdir"
            )


def check_arrays(content: Mapping[str, Any], arrays: Arrays) -> None:
    """Raises DamagedError naming the arrays whose values are not those that were saved."""
    sums = jax.device_get(_checksums(arrays))
    changed = [path for path, value in sums.items() if int(value) != content["arrays"][path][2]]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise DamagedError(f"the values of {changed[0]}{more} were changed")


def iterator_state(content: Mapping[str, Any], where: str) -> Any:
    """Where this process's data stood.

    Raises UserError for another number of processes, unless the state counts for all of them.
    """
    states: Sequence[str] = content["iterators"]
    try:
        if len(states) == jax.process_count():
            return json_files.parse(states[jax.process_index()])
        first = json_files.parse(states[0])
    except ValueError as failure:
        raise errors.UserError(
            f"checkpoint {where} does not tell where the data stood ({errors.reason(failure)}); "
            "restore it, or use another --workdir"
        ) from failure
    is_counted = isinstance(first, dict) and stream.NUM_BATCHES in first
    if len(set(states)) == 1 and (first is None or is_counted):
        return first
    raise errors.UserError(
        f"checkpoint {where} was saved by {len(states)} processes and this run has "
        f"{jax.process_count()}; each counted its own data (an earlier version of the library, or "
        f"an iterator without {stream.NUM_BATCHES!r} in its state): go on with {len(states)}"
    )


def _field(path: str) -> str:
    return path.split("/")[0]


def _signature(leaf: Any) -> list[Any]:
    return [list(leaf.shape), str(leaf.dtype)]


def _describe(signature: Sequence[Any]) -> str:
    shape, dtype = signature
    return f"{dtype}[{','.join(map(str, shape))}]"


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _of_all_processes(text: str) -> list[str]:
    """The text of every process, on every process."""
    if jax.process_count() == 1:
        return [text]
    data = np.frombuffer(text.encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(data.size))
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: data.size] = data
    gathered = multihost_utils.process_allgather(padded)
    return [bytes(row[:size]).decode() for row, size in zip(gathered, sizes.tolist(), strict=True)]
