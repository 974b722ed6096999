"""Where a network runs: in which precision, and what it sounds like when its memory ends."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

_OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory", "ALLOC_FAILED")
"""In the messages of MPS, of the host's allocator (two wordings), and of CUDA's libraries."""
_MACOS_WITH_BFLOAT16 = 14
"""The version of macOS from which on PyTorch computes bfloat16 on its GPUs."""

Precision = Literal["auto", "float32", "bfloat16"]


def mixed_precision(device: torch.device, precision: Precision = "auto") -> AbstractContextManager[object]:
    """A block in bfloat16 where that is asked for, or by default where the device computes it: GPUs, Apple's chips.

    CPUs stay in float32 unless asked: only some are faster in bfloat16, and none should give other numbers unasked.
    """
    if device.type == "cuda":
        faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        faster = device.type == "mps" and torch.backends.mps.is_macos_or_newer(_MACOS_WITH_BFLOAT16, 0)
    wanted = faster if precision == "auto" else precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16) if wanted else nullcontext()


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception means that the device or the host has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def release_memory(device: torch.device) -> None:
    """Give back what PyTorch holds in reserve, which fragments the memory."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
