"""A folder of cameras of Polycam's raw data (keyframes/cameras or corrected_cameras, one JSON file a photograph).

They are ARKit's: world from camera with the axes x right, y up, z backward; the files are named as the pictures in
keyframes/images.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.foreign.camera import ForeignCamera, from_world_from_cam, lens
from dust3r_sfm.images.known_cameras import read_json

_FOLDERS = ("corrected_cameras", "cameras", "keyframes/corrected_cameras", "keyframes/cameras")
"""Where the files are, the better ones first."""


def camera_files(folder: Path) -> list[Path]:
    """The cameras in a folder of Polycam's, or in the part of it that holds them; none where it is no such folder."""
    for candidate in (folder, *(folder / name for name in _FOLDERS)):
        files = sorted(candidate.glob("*.json")) if candidate.is_dir() else []
        if files and "t_00" in read_json(files[0]):
            return files
    return []


def read_polycam(files: Sequence[Path]) -> dict[str, ForeignCamera]:
    """Read cameras, one a file.

    Raises:
        InputError: a file lacks something, or its pose is no pose.
    """
    found = {}
    for path in files:
        content = read_json(path)
        try:
            matrix = np.array([[float(content[f"t_{row}{column}"]) for column in range(4)] for row in range(3)])
            focals, centre = (float(content["fx"]), float(content["fy"])), (float(content["cx"]), float(content["cy"]))
            size = (int(content["width"]), int(content["height"]))
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"{path} is no camera of Polycam ({error!r}); export the raw data again.", path=path
            ) from error
        found[path.stem] = ForeignCamera(
            cam_from_world=from_world_from_cam(matrix, path.stem, path, opengl=True),
            camera=lens(focals, centre, size, {}),
        )
    return found
