"""JSON files of runs, codes and exports, which may come from strangers."""

import json
from typing import Any

from resgen_jax.core import errors
from resgen_jax.io import paths

MAX_DEPTH = 32  # of mappings and lists within each other


def read(path: paths.Path, way_out: str) -> dict[str, Any]:
    """The fields that a JSON file holds.

    Raises UserError, which ends in `way_out`, where it cannot be read or is no mapping of fields;
    FileNotFoundError and NotADirectoryError, of which the caller knows the meaning, pass.
    """
    try:
        fields = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as failure:
        raise errors.UserError(f"cannot read {path} ({failure.strerror}); {way_out}") from failure
    except RecursionError:
        raise _too_deep(path, way_out) from None
    except ValueError as failure:
        detail = str(failure)[:200]
        raise errors.UserError(f"{path} is damaged ({detail}); {way_out}") from failure
    if not isinstance(fields, dict):
        raise errors.UserError(f"{path} holds no fields; {way_out}")
    if not _is_shallow(fields):
        raise _too_deep(path, way_out)
    return fields


def _too_deep(path: paths.Path, way_out: str) -> errors.UserError:
    return errors.UserError(
        f"{path} is damaged (more than {MAX_DEPTH} levels within each other); {way_out}"
    )


def _is_shallow(fields: Any) -> bool:
    level = [fields]
    for _ in range(MAX_DEPTH):
        inner = [each.values() if isinstance(each, dict) else each for each in level]
        level = [item for each in inner for item in each if isinstance(item, dict | list)]
        if not level:
            return True
    return False
