"""How much memory a network's work may take; free of torch, so that predictors can name it before they load one."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MemoryLimits:
    """Limits of a pointmap network; None: what suits the device.

    Attributes:
        batch_pixels: network pixels of either side of a batch; 1: each photograph and each edge goes alone.
        parts_bytes: what is kept of the contributions that photographs make alone.
    """

    batch_pixels: int | None = None
    parts_bytes: int | None = None
