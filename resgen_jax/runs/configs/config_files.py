"""Config files: found by name, run, and asked for their config, whatever goes wrong in them."""

import contextlib
import importlib.machinery
import importlib.util
import inspect
import os
import pathlib
import sys
import traceback
import types
from collections.abc import Iterator
from typing import Any

import ml_collections

import resgen_jax
from resgen_jax.core import build, errors


def read(text: str) -> ml_collections.ConfigDict:
    """What get_config of FILE[:words] returns, with nothing in it frozen.

    The file's folder leads the search for modules meanwhile, as it does for a script: a config may
    import its neighbours. Raises UserError, naming the line, for whatever fails in it.
    """
    path, words = _split(text)
    with _importing_from(path.parent):
        try:
            config = _call_get_config(_run(path), words, path)
        except errors.UserError:
            raise
        except Exception as failure:
            raise _told(failure, path) from failure
    if not isinstance(config, ml_collections.ConfigDict):
        raise errors.UserError(
            f"get_config in {path} returned {type(config).__name__}; expected a ConfigDict"
        )
    return _thawed(config)


def shipped_folder() -> pathlib.Path:
    """Where the configs that travel with the package lie, installed or in the source tree."""
    package = pathlib.Path(resgen_jax.__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def shipped() -> list[str]:
    """The names of those configs; what they share lies beside their folders and is none."""
    folder = shipped_folder()
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.py"))


def _make_importable() -> None:
    """`resgen_jax.configs` is the shipped folder in a source tree, too, where it lies outside."""
    spec = importlib.machinery.ModuleSpec("resgen_jax.configs", None, is_package=True)
    spec.submodule_search_locations = [str(shipped_folder())]
    sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec))


_make_importable()


def find(name: str) -> pathlib.Path:
    """The config file `name`: as given, or else among those that travel with the package."""
    path = _found(name)
    if path is not None:
        return path
    if os.path.isdir(os.path.expanduser(name)):
        raise errors.UserError(f"{name!r} is a folder; name a config file, of it or another one")
    raise errors.UserError(
        f"no config file {name!r} here or in the package; {_close(name.removeprefix('configs/'))}"
    )


def _close(name: str) -> str:
    known = shipped()
    by_name = {pathlib.PurePath(path).name: path for path in known}
    hint = build.nearest(pathlib.PurePath(name).name, by_name)
    if hint.startswith("did you mean"):
        return f"did you mean {by_name[hint.split(chr(39))[1]]!r}?"
    return f"it has {', '.join(known)}"


def _split(text: str) -> tuple[pathlib.Path, str]:
    """The file and the words; a colon in the name of a file that is there is its own."""
    colons = [place for place, letter in enumerate(text) if letter == ":"]
    for end in (len(text), *reversed(colons)):
        path = _found(text[:end])
        if path is not None:
            return path, text[end + 1 :]
    name, _, words = text.rpartition(":")
    return find(text if not name or "/" in words else name), words


def _found(name: str) -> pathlib.Path | None:
    for candidate in (os.path.expanduser(name), shipped_folder() / name.removeprefix("configs/")):
        if os.path.isfile(candidate):  # False, too, for what can be no name of a file
            return pathlib.Path(candidate)
    return None


@contextlib.contextmanager
def _importing_from(folder: pathlib.Path) -> Iterator[None]:
    """Modules are looked for in `folder` first, and those found there are forgotten afterwards."""
    place, before = os.path.abspath(folder), set(sys.modules)
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and os.path.dirname(file) == place:  # another folder's may have the same name
                del sys.modules[name]


def _run(path: pathlib.Path) -> types.ModuleType:
    """The config file as a module, whatever its suffix; nothing is written beside it."""
    module = types.ModuleType(f"resgen_config_{path.stem}")
    module.__file__ = os.path.abspath(path)
    sys.modules[module.__name__] = module  # dataclasses in it look for themselves there
    exec(compile(path.read_bytes(), path, "exec"), module.__dict__)
    return module


def _call_get_config(module: types.ModuleType, words: str, path: pathlib.Path) -> Any:
    get_config = getattr(module, "get_config", None)
    if not callable(get_config):
        raise errors.UserError(
            f"{path} has no function get_config(arg) that returns a ConfigDict{_kind(path)}"
        )
    signature = inspect.signature(get_config)
    if _takes(signature, words):
        return get_config(words)
    if not _takes(signature):
        raise errors.UserError(
            f"get_config{signature} in {path} needs more than the words after the colon; write "
            "get_config(arg='')"
        )
    if words:
        raise errors.UserError(
            f"get_config() in {path} takes no words, but {words!r} stands after the colon; leave "
            "it away, or write get_config(arg='')"
        )
    return get_config()


def _takes(signature: inspect.Signature, *arguments: str) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _told(failure: Exception, path: pathlib.Path) -> errors.UserError:
    """What failed in a config file, or in a neighbour of it, in one line."""
    if isinstance(failure, SyntaxError):
        where, line, said = failure.filename or path, failure.lineno, failure.msg
    else:
        frames = traceback.extract_tb(failure.__traceback__)
        near = [each for each in frames if pathlib.Path(each.filename).parent == path.parent]
        where, line = (near[-1].filename, near[-1].lineno) if near else (path, None)
        said = f"{type(failure).__name__}: {failure}"
    at = f" line {line}" if line else ""
    return errors.UserError(f"{where}{at}: {' '.join(said.split())[:300]}{_kind(path)}")


def _kind(path: pathlib.Path) -> str:
    return "" if path.suffix == ".py" else "; a config file holds Python, whatever its suffix"


def _thawed(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The config with sections that can be changed where they were frozen."""
    if isinstance(config, ml_collections.FrozenConfigDict):
        return ml_collections.ConfigDict(config)
    for name, value in config.items(preserve_field_references=True):
        if isinstance(value, ml_collections.ConfigDict):
            with config.ignore_type(), config.unlocked():
                config[name] = _thawed(value)
    return config
