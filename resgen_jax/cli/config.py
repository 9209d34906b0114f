"""`resgen config`: every field of a config with its meaning, or the configs of the package."""

import argparse
import ast

from resgen_jax.cli import flags
from resgen_jax.core import errors
from resgen_jax.runs import progress
from resgen_jax.runs.configs import config_fields, config_files, configuration

WIDEST = 34  # columns of name=value, in front of the meaning


def run(values: argparse.Namespace, overrides: flags.Overrides) -> None:
    """Prints a line for each field, as it would be set, or for each config of the package."""
    if values.file and values.config:
        raise errors.UserError(
            f"two configs are named, {values.file!r} and {values.config!r}; name one"
        )
    text = values.file or values.config
    if not text and overrides:
        raise errors.UserError("a field is set, but no config named; name it: resgen config FILE")
    for line in of_file(text, overrides) if text else shipped():
        progress.result(line)


def of_file(text: str, overrides: flags.Overrides = ()) -> list[str]:
    """Each section of the config, with a line for each of its fields."""
    config = configuration.load(text, overrides)
    lines = [f"{text}: task {config.task}; set a field by --config.SECTION.FIELD=value"]
    for section, summary, found in config_fields.of_config(config):
        lines += ["", f"{section}: {summary}"] if section else []
        for field in found:
            name = field.name.removeprefix(f"{section}.")
            value = f"{name}={config_fields.written(field.value)}"
            meaning = field.meaning[:1].upper() + field.meaning[1:]
            lines.append(f"  {value:<{WIDEST}} {meaning} ({field.kind})")
    for section, summary in config_fields.absent(config):
        lines += ["", f"{section}: not in this config. {summary}"]
    return lines


def shipped() -> list[str]:
    """The configs that travel with the package, each with the first line of its docstring."""
    folder = config_files.shipped_folder()
    lines = ["configs of the package; `resgen config NAME` lists the fields of one"]
    for name in config_files.shipped():
        described = ast.get_docstring(ast.parse((folder / name).read_text()))
        if described:
            lines += [f"  {name}", f"    {described.partition(chr(10))[0]}"]
    return lines
