"""The one import of pycolmap, and its log kept off the terminal.

pycolmap 4.2.1 aborts the process on the first PNG save when it is loaded before zlib, so zlib comes first here, and
every other module takes `pycolmap` from this one. It is loaded when it is first asked for: it costs half a second, so
ask inside the function that needs it.
"""

import sys
import threading
import zlib  # noqa: F401  (must precede pycolmap)
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dust3r_sfm.system import signals

if TYPE_CHECKING:
    import pycolmap as pycolmap
    from pycolmap import Camera, Database, Image, Reconstruction, Sim3d
else:
    Camera = Database = Image = Reconstruction = Sim3d = (
        Any  # annotations are looked at while tests run, and pycolmap is not loaded for them
    )

__all__ = ["Camera", "Database", "Image", "Reconstruction", "Sim3d", "pycolmap", "quiet"]

_quiet_lock = threading.Lock()
_quiet_blocks = 0
_level_before = 0


def __getattr__(name: str) -> ModuleType:
    if name == "pycolmap":
        return load_pycolmap()
    raise AttributeError(f"module {__name__} has no attribute {name}")


def load_pycolmap() -> ModuleType:
    """The library, without the handler of its log, which answers SIGTERM with a page of addresses."""
    is_first, is_caught = "pycolmap" not in sys.modules, signals.is_caught()
    module = import_module("pycolmap")
    if is_first and is_caught:
        signals.catch()
    return module


@contextmanager
def quiet() -> Iterator[None]:
    """Keep COLMAP's progress and warnings off the terminal, in all threads, until the last such block ends."""
    pycolmap = load_pycolmap()
    global _quiet_blocks, _level_before
    with _quiet_lock:
        if _quiet_blocks == 0:
            _level_before = pycolmap.logging.minloglevel
            pycolmap.logging.minloglevel = int(pycolmap.logging.Level.ERROR)
        _quiet_blocks += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_blocks -= 1
            if _quiet_blocks == 0:
                pycolmap.logging.minloglevel = _level_before
