"""Photographs in, COLMAP model out: Structure-from-Motion on pairwise pointmaps.

The names that the package offers stand in `__init__.pyi`, each with its module, and are imported when they are first
asked for: PyTorch and pycolmap take seconds. `docs/api.md` lists them by task.
"""

import ast
import pkgutil
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_MODULE_OF = {
    alias.name: statement.module
    for statement in ast.parse(pkgutil.get_data(__name__, "__init__.pyi")).body
    if isinstance(statement, ast.ImportFrom)
    for alias in statement.names
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]


class _Face(ModuleType):
    """Python sets an imported submodule on its package, where `reconstruct` would hide the function of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in _MODULE_OF):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
