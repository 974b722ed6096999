"""The similarity that brings cameras to where they are known to be."""

import numpy as np
from jaxtyping import Float64


def rotation_and_scale(
    world_from_cam: Float64[np.ndarray, "k 3 4"], known_from_cam: Float64[np.ndarray, "k 3 4"]
) -> tuple[Float64[np.ndarray, "3 3"], float]:
    """Fit the turn and growth from one world to another in which the same cameras stand.

    The rotation is the mean over the cameras, the scale fits their centres best.

    Args:
        world_from_cam: poses as they were found.
        known_from_cam: the same cameras' known poses.

    Returns:
        Rotation, and scale: 1 where all cameras stand in one place, and not above 0 where the centres contradict the
        rotation.
    """
    left, _, right = np.linalg.svd((known_from_cam[:, :, :3] @ np.swapaxes(world_from_cam[:, :, :3], 1, 2)).sum(0))
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    source, target = world_from_cam[:, :, 3] @ rotation.T, known_from_cam[:, :, 3]
    arms, goals = source - source.mean(0), target - target.mean(0)
    spread = float((arms**2).sum())
    return rotation, float((arms * goals).sum()) / spread if spread > 0 else 1.0
