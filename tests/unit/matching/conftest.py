"""Two exact pointmaps of a slanted wall, seen by two cameras."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.geometry import pinhole, transforms
from dust3r_sfm.types import PairPrediction, View

SIZE, RAW_SIZE = (96, 64), (768, 512)
NORMAL, DISTANCE = np.array([0.2, -0.1, 1.0]), 4.0


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A pair in both directions, with the truth behind it."""

    forward: PairPrediction
    backward: PairPrediction
    view: View
    intrinsics: np.ndarray
    cam2_from_cam1: np.ndarray


def wall(cam_from_1: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Points of the wall n·X = d (camera 1's frame) that a camera sees, in camera 1's frame."""
    rays = pinhole.rays(SIZE[1], SIZE[0], intrinsics) @ cam_from_1[:, :3]
    centre = transforms.centres(cam_from_1)
    return centre + rays * ((DISTANCE - NORMAL @ centre) / (rays @ NORMAL))[..., None]


@pytest.fixture
def pair() -> Pair:
    """Camera 2 stands to the right, turned to the left and a little rolled; all confidences are 5."""
    intrinsics = pinhole.intrinsics(90.0, SIZE)
    rotation = transforms.rotation_exp(np.array([0.03, -0.15, 0.05]))
    cam2_from_cam1 = np.column_stack([rotation, -rotation @ np.array([0.6, 0.1, -0.1])])
    identity = np.eye(4)[:3]
    in1 = [wall(identity, intrinsics), wall(cam2_from_cam1, intrinsics)]
    in2 = [transforms.apply(cam2_from_cam1, points.reshape(-1, 3)).reshape(points.shape) for points in in1]
    confidence = np.full(SIZE[::-1], 5.0, np.float32)

    def prediction(points1: np.ndarray, points2: np.ndarray) -> PairPrediction:
        return PairPrediction(
            points1=points1.astype(np.float32),
            confidence1=confidence.copy(),
            points2=points2.astype(np.float32),
            confidence2=confidence.copy(),
        )

    view = View(
        name="wall.jpg",
        path=Path("wall.jpg"),
        size=RAW_SIZE,
        orientation=1,
        network_size=SIZE,
        network_from_image=np.diag([1 / 8, 1 / 8, 1.0]),
        focal_prior=None,
        camera_group=0,
    )
    return Pair(
        forward=prediction(in1[0], in1[1]),
        backward=prediction(3.0 * in2[1], 3.0 * in2[0]),
        view=view,
        intrinsics=intrinsics,
        cam2_from_cam1=cam2_from_cam1,
    )
