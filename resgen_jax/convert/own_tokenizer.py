"""The tokenizer of an exported generator's codes: where it lies, and whether it is that one."""

import os
from typing import Any

import numpy as np

from resgen_jax.convert import exports
from resgen_jax.core import errors
from resgen_jax.io import json_files, paths
from resgen_jax.quantizers import unit

FOLDER = "tokenizer"  # in the generator's directory


def find(path: str | os.PathLike) -> paths.Path:
    """Where the tokenizer of the generator in `path` lies, exported; UserError if it does not."""
    beside = paths.of(path) / FOLDER
    if exports.is_export(beside):
        return beside
    named = _named(paths.of(path) / exports.CODES)
    if named and exports.is_export(named):
        return paths.of(named)
    raise errors.UserError(
        f"{path} holds no tokenizer to draw its codes with; pass one, tokenizer=resgen_jax."
        f"from_pretrained(DIR), which `resgen convert --workdir={named or 'RUN'} --to=safetensors "
        f"--output=DIR` makes, or convert the generator again where its tokenizer is at hand"
    )


def _named(codes: paths.Path) -> str:
    """The run directory or export that made the codes, "" where nothing says it."""
    if not codes.is_file():
        return ""
    name = json_files.read(codes, "convert it again").get("tokenizer", "")
    return name if isinstance(name, str) else ""


def check(of_tokenizer: Any, of_generator: Any) -> None:
    """Raises UserError unless the codebooks, "q v c", are those that the codes point into."""
    found, wanted = np.asarray(of_tokenizer, np.float32), np.asarray(of_generator, np.float32)
    if found.shape != wanted.shape:
        raise errors.UserError(
            f"the tokenizer's codebooks are of shape {found.shape}, those of the generator's codes "
            f"of {wanted.shape} (depth, codebook_size, code_dim); pass the tokenizer that made them"
        )
    # A generator keeps them scaled as a whole, and quotients may have been rounded otherwise.
    found, wanted = unit.unit_codebooks(found), unit.unit_codebooks(wanted)
    if not np.allclose(found, wanted, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise errors.UserError(
            "the tokenizer's codebooks hold other vectors than those of the generator's codes; "
            "pass the tokenizer that made them, at the step at which it did"
        )
