"""Where a network runs: which device, in which precision, and what it sounds like when its memory ends."""

from contextlib import AbstractContextManager, nullcontext

import torch

from dust3r_sfm.errors import PredictorError

_OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory", "ALLOC_FAILED")
"""In the messages of MPS, of the host's allocator (two wordings), and of CUDA's libraries."""
MACOS_WITH_BFLOAT16 = 14


def choose_device(name: str) -> torch.device:
    """The device that a name stands for; auto is the first of cuda, mps and cpu that this machine has.

    Raises:
        PredictorError: an unknown device, or one that this machine lacks.
    """
    available = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    if name == "auto":
        return torch.device(next(kind for kind, count in available.items() if count))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise PredictorError(f"There is no device '{name}'; use auto, cpu, cuda, cuda:1 or mps.") from error
    if (device.index or 0) >= available.get(device.type, 0):
        found = ", ".join(kind for kind, count in available.items() if count)
        raise PredictorError(f"PyTorch finds no device '{name}' on this machine, only {found}; use --device auto.")
    return device


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """A block in bfloat16 where the device computes it faster: GPUs and Apple's chips. CPUs stay in float32."""
    if device.type == "cuda":
        faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        faster = device.type == "mps" and torch.backends.mps.is_macos_or_newer(MACOS_WITH_BFLOAT16, 0)
    return torch.autocast(device.type, torch.bfloat16) if faster else nullcontext()


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
