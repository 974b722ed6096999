"""The learning rate over a training run, and which parameters decay."""

import math
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Linear warm-up, then half a cosine; in epochs, which may be fractions (DUSt3R's released recipe).

    Attributes:
        peak: learning rate after the warm-up.
        floor: learning rate at the end.
        warmup: epochs of warm-up.
        epochs: of the whole run.
    """

    peak: float = 1e-4
    floor: float = 1e-6
    warmup: float = 10.0
    epochs: float = 100.0

    def rate(self, epoch: float) -> float:
        """Learning rate at a moment of the run."""
        if epoch < self.warmup:
            return self.peak * epoch / self.warmup
        share = min((epoch - self.warmup) / max(self.epochs - self.warmup, 1e-9), 1.0)
        return self.floor + (self.peak - self.floor) * 0.5 * (1 + math.cos(math.pi * share))


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters that learn, for an optimizer: weight matrices decay; biases, norms and other vectors do not."""
    named = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
    return [
        {"params": [value for _, value in named if value.ndim >= 2], "weight_decay": weight_decay},
        {"params": [value for _, value in named if value.ndim < 2], "weight_decay": 0.0},
    ]
