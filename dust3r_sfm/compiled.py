"""Pixel loops as machine code: Numba, kept on disk after the first use."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


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
def _forget_older_than_sources(room: Path) -> None:
    """Numba looks at a kernel's own file alone; kernels call functions of other files of their folder."""
    newest = max(file.stat().st_mtime_ns for file in (Path(__file__), *room.glob("*.py")))
    for kept in (room / "__pycache__").glob("*.nb[ic]"):
        with suppress(OSError):
            if kept.stat().st_mtime_ns < newest:
                kept.unlink()
