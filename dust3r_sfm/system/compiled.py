"""Pixel loops as machine code: Numba, kept on disk after the first use."""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

import numba
from numba.core import event

logger = logging.getLogger("dust3r_sfm")

Function = TypeVar("Function", bound=Callable[..., object])

_PACKAGE = Path(__file__).parents[1]
_rooms: set[Path] = set()


class _CompilationNotice(event.Listener):  # type: ignore[misc]
    """Says, once, why the first run on a machine waits."""

    def __init__(self) -> None:
        self._said = False

    def on_start(self, event: event.Event) -> None:
        if not self._said:
            self._said = True
            logger.info("Compiling pixel loops; this happens once on a machine and takes about 20 s in all")

    def on_end(self, event: event.Event) -> None:
        """Nothing is to be said."""


event.register("numba:compile", _CompilationNotice())


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers; sums may be reordered, what is not finite stays so.

    Arguments are C-contiguous and of one type each, or every other combination is compiled again.
    """
    _forget_older_than_sources(Path(function.__code__.co_filename).parent)
    flags = {"reassoc", "contract", "arcp", "nsz"}

    def kernel(on_disk: bool) -> Function:
        return cast(Function, numba.njit(cache=on_disk, nogil=True, error_model="numpy", fastmath=flags)(function))

    try:
        return kernel(on_disk=True)
    except RuntimeError:  # nowhere to write: every process compiles for itself
        return kernel(on_disk=False)


@cache
def _forget_older_than_sources(folder: Path) -> None:
    """Remove a folder's machine code that is older than any source it may come from.

    Numba looks at a kernel's own file alone, but kernels call functions and hold constants of other files: of their own
    room (a folder of the package, with its sub-folders), and of rooms whose kernels were imported before.
    """
    _rooms.add(next((room for room in (folder, *folder.parents) if room.parent == _PACKAGE), folder))
    sources = [Path(__file__), *(file for room in _rooms for file in room.rglob("*.py"))]
    newest = max(file.stat().st_mtime_ns for file in sources)
    for kept in (folder / "__pycache__").glob("*.nb[ic]"):
        with suppress(OSError):
            if kept.stat().st_mtime_ns < newest:
                kept.unlink()
