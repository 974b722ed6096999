"""Pixel loops as machine code: Numba, kept on disk after the first use."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers; sums may be reordered, what is not finite stays so.

    Arguments are C-contiguous and of one type each, or every other combination is compiled again. A change in another
    file's function that a kernel calls does not reach the disk's copy: remove `__pycache__` after such an edit.
    """
    flags = {"reassoc", "contract", "arcp", "nsz"}

    def kernel(cache: bool) -> Function:
        return cast(Function, numba.njit(cache=cache, nogil=True, error_model="numpy", fastmath=flags)(function))

    try:
        return kernel(cache=True)
    except RuntimeError:  # nowhere to write: every process compiles for itself
        return kernel(cache=False)
