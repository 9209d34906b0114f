"""Config files with fields set on the command line, read into a ConfigDict."""

import ast
import os
from collections.abc import Sequence
from typing import Any

import ml_collections

from resgen_jax.core import build, errors
from resgen_jax.core.shell import CONFIG_FIELD, Overrides
from resgen_jax.io import paths
from resgen_jax.recipes import configs
from resgen_jax.runs.configs import config_files, sections

PATHS = (
    ("data", "path"),
    ("data", "held_out_path"),
    ("data", "class_names"),
    ("data", "codes"),
    ("train", "local_checkpoints"),
    ("loss", "weights"),
    ("evaluation", "weights"),
    ("evaluation", "tokenizer"),
    ("train", "init_from"),
)
IN_BUCKETS = (("data", "codes"), ("evaluation", "tokenizer"), ("train", "init_from"))
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
read_file = config_files.read  # for configs that begin with another one


def load(text: str, overrides: Overrides = ()) -> Any:
    """The config of `--config=FILE[:words]` with fields set, frozen; paths in it become absolute.

    Raises UserError for whatever is wrong with it by itself.
    """
    config = config_files.read(text)
    if "sizes" in config and "task" not in config:
        raise errors.UserError(f"{text} is a scaling study; it is for `resgen scale plan`")
    sections.complete(config)
    for field, value in overrides:
        override(config, field, value)
    with config.unlocked():
        config.source = text
    make_paths_absolute(config)
    return sections.freeze(config)


def overridden(config: Any, overrides: Overrides) -> Any:
    """A frozen config with fields set as on the command line."""
    fields = ml_collections.ConfigDict(configs.thaw(config))
    for field, value in overrides:
        override(fields, field, value)
    make_paths_absolute(fields)
    return sections.freeze(fields)


def frozen(config: Any) -> Any:
    """A config as runs take it: out of a file's name, or of a ConfigDict made in Python."""
    if isinstance(config, str | os.PathLike):
        return load(os.fspath(config))
    if isinstance(config, ml_collections.ConfigDict):
        config = ml_collections.ConfigDict(config)
        sections.complete(config)
        make_paths_absolute(config)
        return sections.freeze(config)
    return config


def load_fields(text: str) -> ml_collections.ConfigDict:
    """The config of a file, complete but not frozen: to be changed, and then frozen."""
    config = config_files.read(text)
    sections.complete(config)
    make_paths_absolute(config)
    return config


def make_paths_absolute(config: ml_collections.ConfigDict) -> None:
    """The paths in a config, so that its run can be gone on with from another folder."""
    for section, field in PATHS:
        if section in config and config[section].get(field):
            text = config[section][field]
            if paths.is_remote(text):
                if (section, field) not in IN_BUCKETS:
                    raise errors.UserError(
                        f"{section}.{field} is {text!r}, but it has to lie on a disk; copy it "
                        f"to this machine, or mount the bucket"
                    )
                paths.check_reachable(text)
            else:
                config[section][field] = os.path.abspath(paths.expanded(text))


def override(config: ml_collections.ConfigDict, field: str, text: str) -> None:
    """Sets `field`, written a.b.c, to `text` read as the type of the value that is there.

    Raises UserError, naming the nearest, for a field that is not there or text of another type.
    """
    *names, last = field.split(".")
    node, seen = config, "config"
    for name in [*names, last]:
        if not isinstance(node, ml_collections.ConfigDict):
            raise errors.UserError(f"{CONFIG_FIELD}{field}: {seen} is a value, it has no fields")
        if name not in node:
            raise errors.UserError(
                f"{CONFIG_FIELD}{field}: {seen} has no field {name!r}; {build.nearest(name, node)}"
            )
        parent, node, seen = node, node[name], f"{seen}.{name}"
    if isinstance(node, ml_collections.ConfigDict):
        raise errors.UserError(
            f"{CONFIG_FIELD}{field} is a section; set one of its fields: {', '.join(sorted(node))}"
        )
    number = sections.number_per_step(config, field)
    try:
        if number is None:
            parent[last] = _parse(text, node)
        else:
            with parent.ignore_type():  # one number or several
                parent[last] = _parse_per_step(text, number)
    except (ValueError, TypeError, KeyError, OverflowError) as failure:
        raise errors.UserError(
            f"{CONFIG_FIELD}{field} is {text!r}; expected {_type_name(node)} such as {node!r}"
        ) from failure


def _parse(text: str, current: Any) -> Any:
    """`text` as a value of the type of `current`."""
    if isinstance(current, bool):
        return BOOLEANS[text.lower()]
    if isinstance(current, str):
        return text
    if isinstance(current, int):
        return int(text) if text.lstrip("+-").isdigit() else _whole(float(text))
    if isinstance(current, float):
        return float(text)
    if isinstance(current, list | tuple):
        return _parse_sequence(text, current)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _parse_per_step(text: str, number: type) -> Any:
    """One number, or several like 1,1.5,2."""
    values = _parse_sequence(text, [number()])
    return values if "," in text else values[0]


def _whole(number: float) -> int:
    if not number.is_integer():  # 1e5 is
        raise ValueError(f"{number} is not whole")
    return int(number)


def _parse_sequence(text: str, current: Sequence) -> tuple:
    words = text.strip().strip("()[]").strip(", ")
    values = [word.strip().strip("'\"") for word in words.split(",")] if words else []
    example = current[0] if current else None
    return tuple(_parse(value, example) for value in values)


def _type_name(value: Any) -> str:
    return {bool: "true or false", int: "an integer", float: "a number"}.get(
        type(value), "a comma-separated list" if isinstance(value, list | tuple) else "a value"
    )
