"""What is drawn of a reconstruction: coloured points and where the cameras stand."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from dust3r_sfm.colmap.model import read_model
from dust3r_sfm.geometry.grid import raw_from_upright
from dust3r_sfm.geometry.transforms import apply, centres, invert
from dust3r_sfm.types import Scene

_CORNERS = np.array([[0.0, 0.0, 0.0], [-1.0, -1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])
"""Centre and picture corners of a camera whose half fields of view are 1."""

_UP = np.array([0.0, -1.0, 0.0])
"""Up in the axes of an upright camera."""

_INSIDE_OF_DISTANCE = 0.2
"""Cameras whose mean is nearer to the points than this share of their own distance stand all around; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is drawn of a reconstruction.

    Attributes:
        xyz: points in the world (p, 3).
        rgb: their colours (p, 3).
        names: registered images (n,).
        cam_from_world: their poses (n, 3, 4).
        half_fields: tangents of half the horizontal and vertical field of view (n, 2).
        ups: where the top of the upright photograph is, in the camera's axes (n, 3).
        num_observations: points that each image sees (n,).
    """

    xyz: Float64[np.ndarray, "p 3"]
    rgb: UInt8[np.ndarray, "p 3"]
    names: tuple[str, ...]
    cam_from_world: Float64[np.ndarray, "n 3 4"]
    half_fields: Float64[np.ndarray, "n 2"]
    ups: Float64[np.ndarray, "n 3"]
    num_observations: Int64[np.ndarray, " n"]

    def frusta(self, size: float) -> Float64[np.ndarray, "n 5 3"]:
        """Centre and four picture corners of each camera, `size` world units deep."""
        scales = np.concatenate([self.half_fields, np.ones((len(self.names), 1))], axis=1) * size
        corners: Float64[np.ndarray, "n 5 3"] = apply(invert(self.cam_from_world), _CORNERS * scales[:, None])
        return corners

    def level_from_world(self) -> Float64[np.ndarray, "3 3"]:
        """Rotation into (right, forward, up): up in most photographs, and ahead of where the cameras stand."""
        eyes = centres(self.cam_from_world)
        ups = np.einsum("nji,nj->ni", self.cam_from_world[:, :, :3], self.ups)
        up = _unit(ups.mean(axis=0), _UP)
        target = np.median(self.xyz, axis=0) if len(self.xyz) else eyes.mean(axis=0) + self.cam_from_world[0, 2, :3]
        forward = target - eyes.mean(axis=0)
        inside = np.linalg.norm(forward) < _INSIDE_OF_DISTANCE * np.linalg.norm(eyes - target, axis=1).mean()
        if inside:  # cameras all around: no direction is the front, take the first photograph's
            forward = self.cam_from_world[0, 2, :3]
        forward = _unit(forward - up * (forward @ up), self.cam_from_world[0, 0, :3])
        return np.stack([np.cross(forward, up), forward, up])


def read_drawn(folder: Path, scene: Scene | None = None) -> Model:
    """Read what is drawn of a COLMAP model.

    Args:
        folder: of the model.
        scene: the scene it was made of, which knows how files lie that EXIF turns; without one they count as upright.

    Raises:
        InputError: the folder holds no model, or a damaged one.
    """
    reconstruction = read_model(folder)
    images = sorted(
        (image for image in reconstruction.images.values() if image.has_pose), key=lambda image: str(image.name)
    )
    cameras = [reconstruction.cameras[image.camera_id] for image in images]
    points = reconstruction.points3D.values()
    turns = {} if scene is None else dict(zip(scene.names, raw_from_upright(scene.network_from_image), strict=True))
    return Model(
        xyz=np.array([point.xyz for point in points]).reshape(-1, 3),
        rgb=np.array([point.color for point in points], dtype=np.uint8).reshape(-1, 3),
        names=tuple(image.name for image in images),
        cam_from_world=np.array([image.cam_from_world().matrix() for image in images]).reshape(-1, 3, 4),
        half_fields=np.array(
            [[side / (2 * camera.mean_focal_length()) for side in (camera.width, camera.height)] for camera in cameras]
        ).reshape(-1, 2),
        ups=np.array([turns.get(image.name, np.eye(3)) @ _UP for image in images]).reshape(-1, 3),
        num_observations=np.array([image.num_points3D for image in images], dtype=np.int64),
    )


def _unit(vector: Float64[np.ndarray, " 3"], otherwise: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    length = float(np.linalg.norm(vector))
    unit: Float64[np.ndarray, " 3"] = vector / length if length > 1e-9 else otherwise
    return unit
