"""From raw head channels to points, confidences and descriptors; always in float32."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from dust3r_sfm.network.config import Mode

_MIN_NORM = 1e-8
"""Keeps a division and its gradient finite: chosen by hand."""


def activate_points(raw: Float[Tensor, "*b 3"], mode: Mode) -> Float[Tensor, "*b 3"]:
    """Points in the raw direction, whose distance d becomes exp(d) - 1 (exp), d (linear) or d² (square)."""
    if mode[0] == "linear":
        return raw
    # Not vector_norm's gradient: at an exact zero it is NaN.
    distance = raw.square().sum(-1, keepdim=True).clamp(min=_MIN_NORM**2).sqrt()
    return raw / distance * (torch.expm1(distance) if mode[0] == "exp" else distance.square())


def activate_confidence(raw: Float[Tensor, "*b"], mode: Mode) -> Float[Tensor, "*b"]:
    """Confidence between the mode's bounds: low + exp(x), cut at high; or a sigmoid between the two."""
    kind, low, high = mode
    if kind == "sigmoid":
        return (high - low) * torch.sigmoid(raw) + low
    return low + raw.exp().clamp(max=high - low)


def activate_descriptors(raw: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
    """Unit descriptors; a zero vector stays zero."""
    return normalize(raw, dim=-1)
