"""`resgen convert`: runs of ours to safetensors, published weights of others to the same format."""

import argparse
import pathlib
from typing import Any

import jax

from resgen_jax.cli import flags
from resgen_jax.cli.convert_flags import SAFETENSORS
from resgen_jax.convert import exports, formats, own_tokenizer, weights
from resgen_jax.core import build, errors, shell, trees
from resgen_jax.io import paths
from resgen_jax.runs import convert, progress, run_directory

# Flags that stand for keywords of a format's `convert`.
OPTIONS = {
    "image_size": "image_size",
    "scales": "scales",
    "choice": "choice",
    "num_heads": "num_heads",
    "grid": "grid",
    "has_separate_codebooks": "separate_codebooks",
}


def run(values: argparse.Namespace, overrides: flags.Overrides) -> None:
    """Writes the directory and says what it is and how to use it."""
    del overrides
    if values.list:
        for line in listing():
            progress.result(line)
        return
    if bool(values.workdir) == bool(values.source):
        raise errors.UserError(
            "say what to convert: either --workdir=RUN --to=safetensors, or --from=FORMAT "
            "--input=FILE; `resgen convert --list` names the formats"
        )
    output = flags.require(values, "output", "where the result goes", "exported/tokenizer")
    _check_output(values.source, output)
    inside = None
    if values.workdir:
        _check_unused(values, ("source", "input", *OPTIONS.values()), "--workdir")
        if values.to != SAFETENSORS:
            raise errors.UserError(f"--to is {values.to!r}; expected {SAFETENSORS}")
        export, notes = convert.of_run(values.workdir)
        inside = convert.tokenizer_of(export, values.workdir)
    elif values.source in weights.TABLE:
        _check_unused(values, ("to", *OPTIONS.values()), f"--from={values.source}")
        _convert_features(values.source, values.input, output)
        return
    else:
        _check_unused(values, ("to",), "--from")
        export, notes = _of_file(values)
    if jax.process_index() != 0:
        return
    exports.write(output, export, notes)
    if inside is not None:
        exports.write(pathlib.Path(output) / own_tokenizer.FOLDER, *inside)
    millions = trees.num_parameters(export.tree["params"]) / 1e6
    progress.result(f"{export.kind}: {output} ({millions:.1f} M parameters)")
    for remark in export.remarks:
        progress.result(f"note: {remark}")
    if values.source:
        for line in formats.FORMATS[values.source].training:
            progress.result(f"to train it on: {line}")
    if "licence" in notes:
        progress.result(f"licence of these weights: {notes['licence']}")
    progress.result(f"open it: resgen_jax.from_pretrained({str(output)!r})")


def _of_file(values: argparse.Namespace) -> tuple[exports.Export, dict[str, Any]]:
    """A published file by the flags' format."""
    if values.source not in formats.FORMATS:
        known = [*formats.FORMATS, *weights.TABLE]
        raise errors.UserError(
            f"--from is {values.source!r}; {build.nearest(values.source, known)}"
        )
    chosen = formats.FORMATS[values.source]
    path = flags.require(values, "input", "the published file", "model.pt")
    others = [flag for word, flag in OPTIONS.items() if word not in chosen.options]
    _check_unused(values, others, f"--from={values.source}")
    options = {word: getattr(values, OPTIONS[word]) for word in chosen.options}
    given = {word: value for word, value in options.items() if value is not None}
    return convert.of_file(values.source, path, given)


def listing() -> list[str]:
    """What --list prints."""
    lines = ["published models: tokenizers and generators (--from=NAME --input=FILE):"]
    for name, entry in formats.FORMATS.items():
        lines += [f"  {name:<16} {entry.what}", f"  {'':<16}   {entry.published}"]
        lines += [f"  {'':<16}   licence of the weights: {entry.licence}"]
    lines += ["frozen networks of metrics and losses (--from=NAME --input=FOLDER):"]
    for name, network in weights.TABLE.items():
        lines += [f"  {name:<16} {network.what}"]
        lines += [f"  {'':<16}   {file} ({where})" for file, where in network.published.items()]
    return lines


def _convert_features(name: str, folder: str | None, output: str) -> None:
    path = weights.save(name, weights.load(name, folder), output)
    progress.result(f"{name}: {path}; use it by {shell.written('weights', output)}")


def _check_output(source: str | None, output: str) -> None:
    """Raises UserError, before the work, where the result cannot go."""
    if source in weights.TABLE:
        run_directory.check_writable(paths.of(output), weights.own_file(source))
    elif jax.process_index() == 0:
        exports.check_output(output)


def _check_unused(values: argparse.Namespace, names: Any, reason: str) -> None:
    """Raises UserError for a flag that would have no effect."""
    for name in names:
        if getattr(values, name) is not None:
            flag = "from" if name == "source" else name
            raise errors.UserError(f"--{flag} has no part in {reason}; leave it out")
