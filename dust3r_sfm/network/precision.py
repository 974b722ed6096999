"""What stays in the parameters' own type under autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A block in which autocast is off."""
    available = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if available else nullcontext()


def in_full_precision(layer: nn.Module, x: Tensor) -> Tensor:
    """`layer(x)` in the type of the layer's weights, whatever autocast says: for layers that cost little."""
    with full_precision(x.device):
        out: Tensor = layer(x.to(next(layer.parameters()).dtype))
    return out
