"""Packages that import a module when it is asked for, so that one is had without the others."""

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType


def modules(package: str, names: Sequence[str]) -> Callable[[str], ModuleType]:
    """The `__getattr__` of a package with these modules: `package.name` imports it."""

    def get(name: str) -> ModuleType:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return importlib.import_module(f"{package}.{name}")

    return get
