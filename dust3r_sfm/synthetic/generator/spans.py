"""Where rays enter and leave the unit shapes; a shape is missed where they do not enter it before they leave it.

Rays are given in the shape's frame, coordinates along axis 1.
"""

import torch
from torch import Tensor

Span = tuple[Tensor, Tensor]

TINY = 1e-20
"""Keeps a division finite."""


def slab(start: Tensor, heading: Tensor) -> Span:
    """Entering and leaving |x| <= 1."""
    inverse = (heading + TINY).reciprocal_()  # a ray along the slab meets it at an infinite distance, not at 0 / 0
    middle, reach = start * inverse, inverse.abs()
    return -middle - reach, reach - middle


def box_span(start: Tensor, heading: Tensor) -> Span:
    """Entering and leaving the unit cube."""
    enter, leave = slab(start, heading)
    return enter.amax(1), leave.amin(1)


def round_span(start: Tensor, heading: Tensor) -> Span:
    """Entering and leaving the unit ball, or circle: all axes that are passed."""
    a, b, c = _dot(heading, heading) + TINY, _dot(start, heading), _dot(start, start) - 1
    root = torch.addcmul(-a * c, b, b).clamp_min_(0).sqrt_()  # 0 where it is missed: entered and left at once
    inverse = a.reciprocal_()
    return (-b - root) * inverse, (root - b) * inverse


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Product along axis 1; a sum over so few is slow there."""
    total = first[:, 0] * second[:, 0]
    for axis in range(1, first.shape[1]):
        total = torch.addcmul(total, first[:, axis], second[:, axis])
    return total


def cylinder_span(start: Tensor, heading: Tensor) -> Span:
    """Entering and leaving the upright cylinder of radius 1 and |z| <= 1."""
    enter, leave = round_span(start[:, :2], heading[:, :2])
    low, high = slab(start[:, 2], heading[:, 2])
    return torch.maximum(enter, low), torch.minimum(leave, high)
