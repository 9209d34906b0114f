"""JSON files of runs, codes and exports, which may come from strangers."""

import json
from typing import Any

from resgen_jax.core import errors
from resgen_jax.io import paths

MAX_BYTES = 2**22  # of a file of fields: ten thousand shards with their checksums are 2 MB
MAX_DEPTH = 32  # of mappings and lists within each other
TOO_DEEP = f"more than {MAX_DEPTH} levels within each other"


def read(path: paths.Path, way_out: str) -> dict[str, Any]:
    """The fields that a JSON file holds.

    Raises UserError, which ends in `way_out`, where it cannot be read or is no mapping of fields;
    FileNotFoundError and NotADirectoryError, of which the caller knows the meaning, pass.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        fields = parse(text)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as failure:
        raise errors.UserError(f"cannot read {path} ({failure.strerror}); {way_out}") from failure
    except ValueError as failure:
        raise errors.UserError(
            f"{path} is damaged ({errors.reason(failure)}); {way_out}"
        ) from failure
    if not isinstance(fields, dict):
        raise errors.UserError(f"{path} holds no fields; {way_out}")
    return fields


def parse(text: str | bytes) -> Any:
    """What a text in JSON says; ValueError for any other text, and for what is absurdly deep."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if not _is_shallow(found):
        raise ValueError(TOO_DEEP)
    return found


def _is_shallow(fields: Any) -> bool:
    level = [fields] if isinstance(fields, dict | list) else []
    for _ in range(MAX_DEPTH):
        inner = [each.values() if isinstance(each, dict) else each for each in level]
        level = [item for each in inner for item in each if isinstance(item, dict | list)]
        if not level:
            return True
    return False
