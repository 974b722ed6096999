"""What a device can do at most: its measured rate of matrix products."""

import time

import torch


def synchronize(device: torch.device) -> None:
    """Wait for what the device was told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of large square products."""
    size, repeats = (8192, 20) if device.type == "cuda" else (512, 4)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    _ = left @ right
    synchronize(device)
    started = time.perf_counter()
    for _ in range(repeats):
        _ = left @ right
    synchronize(device)
    return repeats * 2 * size**3 / (time.perf_counter() - started)
