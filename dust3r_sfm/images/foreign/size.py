"""Cameras of resized pictures brought to the pixels of the photographs."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.foreign.camera import UNKNOWN_SIZE
from dust3r_sfm.images.foreign.colmap_camera import colmap_camera, known_camera, refuse_impossible
from dust3r_sfm.types import KnownCamera, View

_STRETCHED_OF_SIDE = 0.03
"""By what share the two sides may be scaled differently: networks round them to whole patches, as VGGT to 14 of 518
pixels. Chosen by hand."""

_TURNED = (5, 6, 7, 8)
"""EXIF orientations of files that lie on their side (EXIF 2.3)."""


def at_size_of(view: View, camera: KnownCamera | None, source: Path) -> tuple[KnownCamera | None, bool]:
    """Bring a camera to the pixels of its photograph: scaled, or where a centred crop was scaled, moved as well.

    Args:
        view: the photograph.
        camera: of the other program's picture.
        source: its file, for sentences.

    Returns:
        The camera, and whether its picture is taken for a centred crop of the photograph.

    Raises:
        InputError: the camera is no camera, or of a picture that EXIF turns.
    """
    if camera is None:
        return None, False
    width, height = view.size
    if camera.size == UNKNOWN_SIZE:
        camera = replace(camera, size=view.size)
    camera = _with_centre(camera)
    refuse_impossible(camera, view.name, source)
    scales = width / camera.size[0], height / camera.size[1]
    made = colmap_camera(camera)
    if max(scales) <= (1 + _STRETCHED_OF_SIDE) * min(scales):
        if camera.size != view.size:
            made.rescale(width, height)
        return known_camera(made), False
    if view.orientation in _TURNED and (camera.size[0] < camera.size[1]) != (width < height):
        raise InputError(
            f"The camera of {view.name} in {source} is of {camera.size[0]} × {camera.size[1]} pixels, the file of "
            f"{width} × {height}, which EXIF turns; give cameras of the files as they are stored.",
            path=source,
        )
    scale = min(scales)
    inner = round(scale * camera.size[0]), round(scale * camera.size[1])
    made.rescale(*inner)
    made.principal_point_x += (width - inner[0]) / 2
    made.principal_point_y += (height - inner[1]) / 2
    made.width, made.height = width, height
    return known_camera(made), True


def _with_centre(camera: KnownCamera) -> KnownCamera:
    """Put a principal point that is not known into the middle."""
    if not any(map(math.isnan, camera.params)):
        return camera
    made = colmap_camera(camera)
    params = np.array(camera.params)
    for index, side in zip(made.principal_point_idxs(), camera.size, strict=True):
        params[index] = side / 2 if math.isnan(params[index]) else params[index]
    return replace(camera, params=tuple(params.tolist()))
