"""Pairs of views as tensors: what the network is given, and what its output is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dust3r_sfm.geometry.transforms import apply
from dust3r_sfm.training.losses import Target
from dust3r_sfm.training.view import TrainingView


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pairs of photographs and their truth; portraits are stored transposed, so that all share one landscape tensor.

    Attributes:
        images1, images2: RGB in [-1, 1].
        true_shape1, true_shape2: (height, width) of each photograph.
        target: the truth, laid out as the images.
    """

    images1: Float[Tensor, "b 3 h w"]
    images2: Float[Tensor, "b 3 h w"]
    true_shape1: Int[Tensor, "b 2"]
    true_shape2: Int[Tensor, "b 2"]
    target: Target

    def __len__(self) -> int:
        return len(self.images1)

    def to(self, device: torch.device) -> "Batch":
        """Move the tensors; the shapes stay on the CPU, where the network reads them."""
        return Batch(
            images1=self.images1.to(device, non_blocking=True),
            images2=self.images2.to(device, non_blocking=True),
            true_shape1=self.true_shape1,
            true_shape2=self.true_shape2,
            target=self.target.to(device),
        )


def collate(pairs: Sequence[tuple[TrainingView, TrainingView]]) -> Batch:
    """Make a symmetric batch: each pair (a, b) is followed by (b, a), so that both views learn both roles.

    Args:
        pairs: views of one size, up to a turn.
    """
    ordered = [pair for first, second in pairs for pair in ((first, second), (second, first))]
    sides = [[_side(view, first.cam_from_world) for view in (first, second)] for first, second in ordered]
    images1, points1, valid1, sky1 = _stacked([side for side, _ in sides])
    images2, points2, valid2, sky2 = _stacked([side for _, side in sides])
    shapes = [[view.pixels.shape[:2] for view in pair] for pair in ordered]
    return Batch(
        images1=images1,
        images2=images2,
        true_shape1=torch.tensor([shape for shape, _ in shapes]),
        true_shape2=torch.tensor([shape for _, shape in shapes]),
        target=Target(
            points1=points1,
            points2=points2,
            valid1=valid1,
            valid2=valid2,
            metric=torch.tensor([first.metric and second.metric for first, second in ordered]),
            sky1=sky1,
            sky2=sky2,
        ),
    )


def _side(view: TrainingView, cam1_from_world: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, points in camera 1's frame, validity and sky of one view, portraits transposed."""
    world = view.world_points()
    points = apply(cam1_from_world, world.reshape(-1, 3)).reshape(world.shape).astype(np.float32)
    valid = (view.depth > 0) & np.isfinite(points).all(axis=-1)
    sky = view.sky & ~valid if view.sky is not None else np.zeros_like(valid)
    arrays = (view.pixels, points, valid, sky)
    if valid.shape[0] > valid.shape[1]:
        return tuple(array.swapaxes(0, 1) for array in arrays)  # type: ignore[return-value]
    return arrays


def _stacked(sides: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    pixels, points, valid, sky = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*sides, strict=True))
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1, points, valid, sky
