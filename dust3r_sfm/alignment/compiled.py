"""Pixel loops as machine code: Numba, kept on disk after the first use."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers; sums may be reordered, what is not finite stays so.

    Arguments are C-contiguous and of one type each, or every other combination is compiled again.
    """
    flags = {"reassoc", "contract", "arcp", "nsz"}
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=flags)(function))
