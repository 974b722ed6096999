"""NVM_V3 of VisualSFM (Wu 2011): names, focal lengths, rotations, camera centres and one radial coefficient.

VisualSFM's coefficient takes distortion out of measured points, COLMAP's puts it in: to first order, one is minus the
other (as COLMAP's own export has it).
"""

import math
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.foreign.camera import UNKNOWN_SIZE, ForeignCamera, rigid
from dust3r_sfm.system.text import read_text
from dust3r_sfm.types import KnownCamera


def read_nvm(source: Path) -> dict[str, ForeignCamera]:
    """Read the cameras of the first model of a file.

    Raises:
        InputError: it is no NVM_V3 file, or a pose is no pose.
    """
    try:
        lines = [line for line in read_text(source).splitlines() if line.strip()]
        if not lines[0].startswith("NVM_V3"):
            raise ValueError("its first line is not NVM_V3")
        if lines[0].split()[0] == "NVM_V3_R9T":
            raise ValueError("NVM_V3_R9T has other columns")
        fixed = _fixed_calibration(lines[0], source)
        rows = [_columns(line) for line in lines[2 : 2 + int(lines[1])]]
        values = np.array([[float(value) for value in row[1:10]] for row in rows]).reshape(len(rows), 9)
    except (OSError, ValueError, LookupError, OverflowError) as error:
        raise InputError(
            f"{source} cannot be read as VisualSFM's NVM_V3 ({error}); export it again.", path=source
        ) from error
    found = {}
    for (name, *_), (focal, w, x, y, z, *centre, radial) in zip(rows, values.tolist(), strict=True):
        try:
            rotation = Rotation.from_quat([x, y, z, w]).as_matrix()
        except ValueError as error:
            raise InputError(
                f"The pose of {name} in {source} has no rotation; export it again.", path=source
            ) from error
        pose = rigid(np.column_stack([rotation, -rotation @ np.array(centre)]), name, source)
        params = (focal, math.nan, math.nan, -radial)
        camera = fixed or KnownCamera(model="SIMPLE_RADIAL", size=UNKNOWN_SIZE, params=params)
        found[name.replace('"', " ")] = ForeignCamera(cam_from_world=pose, camera=camera)
    return found


def _columns(line: str) -> list[str]:
    """Name and numbers: a name ends at a tab, or at the first blank (VisualSFM writes quotes for blanks in it)."""
    name, _, rest = line.partition("\t") if "\t" in line else line.partition(" ")
    return [name, *rest.split()]


def _fixed_calibration(first: str, source: Path) -> KnownCamera | None:
    """The calibration that VisualSFM was told to keep: FixedK fx cx fy cy r; None without one."""
    words = first.split()
    if "FixedK" not in words:
        return None
    fx, cx, fy, cy, radial = (float(word) for word in words[words.index("FixedK") + 1 :][:5])
    return KnownCamera(model="OPENCV", size=UNKNOWN_SIZE, params=(fx, fy, cx, cy, -radial, 0.0, 0.0, 0.0))
