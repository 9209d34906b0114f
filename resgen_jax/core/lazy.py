"""Packages that import a module when it is asked for, so that one is had without the others."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType


def modules(
    package: str, names: Sequence[str], moved: Mapping[str, str] | None = None
) -> Callable[[str], ModuleType]:
    """The `__getattr__` of a package with these modules: `package.name` imports it.

    `moved` says of modules that were in the package once where they are now, so that the files of
    users still find them.
    """
    places = {name: f"{package}.{name}" for name in names} | dict(moved or {})

    def get(name: str) -> ModuleType:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return importlib.import_module(places[name])

    return get
