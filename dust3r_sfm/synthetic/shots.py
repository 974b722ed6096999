"""Where the photographer of a sample scene stands, and how the camera is held and files its pictures."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from dust3r_sfm.geometry.pinhole import intrinsics
from dust3r_sfm.images.exif import FILM_DIAGONAL_MM
from dust3r_sfm.types import Size

FOCAL_35MM_EQUIVALENT_MM = 28
"""What EXIF says: a telephone's."""
_TRUE_FOCAL_OF_EXIF = 1.015
"""True focal length over the one in EXIF, which is rounded to whole millimetres."""
_STEP_DEGREES = 12.0
"""Between photographs, until a round is full: chosen by hand."""
_ORBIT_RADIUS_METRES, _EYE_HEIGHT_METRES = 3.9, 1.65
"""Where the photographer goes: chosen by hand."""
_TARGET = np.array([0.0, 0.0, 0.85])

_LANDSCAPE, _PORTRAIT = "landscape", "portrait"
_HELD = (
    (_LANDSCAPE, 1),
    (_LANDSCAPE, 1),
    (_PORTRAIT, 6),
    (_LANDSCAPE, 1),
    (_LANDSCAPE, 1),
    (_PORTRAIT, 8),
    (_LANDSCAPE, 1),
    (_PORTRAIT, 1),
)
"""How successive photographs are held, and their EXIF orientation: 6 and 8 are stored as the sensor read them."""

UPRIGHT_FROM_RAW = {
    1: np.eye(3),
    6: np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    8: np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
}
"""Turns between the camera frame of the stored picture and that of the upright one, by EXIF orientation."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One photograph to be taken.

    Attributes:
        name: file name.
        size: (width, height) of the raw pixel grid.
        orientation: EXIF orientation: 1, 6 or 8.
        intrinsics: pinhole matrix in raw pixels.
        cam_from_world: pose of the upright camera.
    """

    name: str
    size: Size
    orientation: int
    intrinsics: Float64[np.ndarray, "3 3"]
    cam_from_world: Float64[np.ndarray, "3 4"]

    @property
    def raw_cam_from_world(self) -> Float64[np.ndarray, "3 4"]:
        """Pose of the camera whose image is the raw pixel grid."""
        return np.asarray(UPRIGHT_FROM_RAW[self.orientation].T @ self.cam_from_world)


def plan_shots(num_views: int, size: Size, rng: Generator) -> list[Shot]:
    """Walk along an arc around the middle, a photograph every 12 degrees, with a photographer's unsteady hand.

    Args:
        num_views: photographs; more than 30 share one full turn.
        size: (width, height) of a landscape photograph.
        rng: unsteadiness of place, aim and level.
    """
    shots = []
    for index in range(num_views):
        held, orientation = _HELD[index % len(_HELD)]
        angle = np.radians(min(_STEP_DEGREES, 360 / num_views) * index + rng.uniform(-1, 1))
        radius = _ORBIT_RADIUS_METRES + rng.uniform(-0.2, 0.2)
        place = np.array(
            [radius * np.cos(angle), radius * np.sin(angle), _EYE_HEIGHT_METRES + rng.uniform(-0.25, 0.25)]
        )
        aim = _TARGET + rng.uniform(-0.15, 0.15, 3)
        raw_size = size[::-1] if held == _PORTRAIT and orientation == 1 else size
        shots.append(
            Shot(
                name=f"courtyard_{index:02d}.jpg",
                size=(raw_size[0], raw_size[1]),
                orientation=orientation,
                intrinsics=intrinsics(
                    _TRUE_FOCAL_OF_EXIF * FOCAL_35MM_EQUIVALENT_MM / FILM_DIAGONAL_MM * float(np.hypot(*size)),
                    raw_size,
                ),
                cam_from_world=look_at(place, aim, roll=np.radians(rng.uniform(-2, 2))),
            )
        )
    return shots


def look_at(
    place: Float64[np.ndarray, "3"], target: Float64[np.ndarray, "3"], roll: float
) -> Float64[np.ndarray, "3 4"]:
    """Return cam_from_world of a camera at `place` that looks at `target`, z of the world upwards in its picture."""
    forward = (target - place) / np.linalg.norm(target - place)
    right = np.cross(forward, [0, 0, 1]) / np.linalg.norm(np.cross(forward, [0, 0, 1]))
    rotation = Rotation.from_euler("z", roll).as_matrix() @ np.stack([right, np.cross(forward, right), forward])
    return np.concatenate([rotation, -rotation @ place[:, None]], axis=1)
