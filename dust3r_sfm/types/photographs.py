"""Photographs: what their files say, and what the user knows about their cameras."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.types.priors import Priors

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class KnownCamera:
    """A camera that the user gave, exactly as it was given.

    Attributes:
        model: COLMAP's name of the camera model.
        size: (width, height) of the raw pixel grid.
        params: COLMAP's parameters of the model, raw pixels.
    """

    model: str
    size: Size
    params: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class View:
    """One photograph: what the file says, and how the picture a predictor sees follows from it.

    Attributes:
        name: path relative to the image root, with forward slashes; unique in its set and the name in the COLMAP model.
        path: the file.
        size: (width, height) of the file's raw pixel grid, EXIF orientation not applied.
        orientation: EXIF orientation tag, 1 to 8 (1 when absent).
        network_size: (width, height) of the upright picture the predictor sees.
        network_from_image: homogeneous map from raw original pixels to network pixels (resize, crop and upright turn).
        focal_prior: focal length in raw original pixels from EXIF, or None.
        camera_group: photographs with equal numbers share one camera.
        mask: COLMAP mask file (black pixels are ignored), or None.
        known_intrinsics: pinhole matrix in network pixels that every stage keeps exactly, or None.
        known_cam_from_world: pose of the upright camera that every stage keeps exactly, or None.
        known_camera: the camera behind `known_intrinsics`, distortion included, as the model will hold it, or None.
    """

    name: str
    path: Path
    size: Size
    orientation: int
    network_size: Size
    network_from_image: Float64[np.ndarray, "3 3"]
    focal_prior: float | None
    camera_group: int
    mask: Path | None = None
    known_intrinsics: Float64[np.ndarray, "3 3"] | None = None
    known_cam_from_world: Float64[np.ndarray, "3 4"] | None = None
    known_camera: KnownCamera | None = None


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A photograph or image that was left out, and why (one sentence)."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """The photographs of one run, ordered by name.

    Attributes:
        root: folder that the names are relative to.
        views: the usable photographs.
        dropped: the others, with reasons.
        warnings: what the user should know about usable ones (mirrored EXIF orientation, duplicates).
        priors: what is measured of the world, in the order of the views; None where nobody has looked.
    """

    root: Path
    views: tuple[View, ...]
    dropped: tuple[Dropped, ...] = ()
    warnings: tuple[str, ...] = ()
    priors: Priors | None = None

    def __len__(self) -> int:
        return len(self.views)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the usable photographs, in order."""
        return tuple(view.name for view in self.views)
