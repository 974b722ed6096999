"""bundle.out of Bundler v0.3, with the names of list.txt beside it (Snavely 2008, Bundler's manual).

The camera looks along -z with y up, and pixels count from the middle of the picture, y up: the lens is COLMAP's RADIAL.
"""

import math
from pathlib import Path

import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.foreign.camera import UNKNOWN_SIZE, ForeignCamera, rigid
from dust3r_sfm.system.text import read_text
from dust3r_sfm.types import KnownCamera

_CV_FROM_BUNDLER = np.diag([1.0, -1.0, -1.0])

_LISTS = ("list.txt", "bundle.list.txt", "image_list.txt")
"""What the list of photographs is called: Bundler's name, COLMAP's, and VisualSFM's."""


def read_bundle(source: Path) -> dict[str, ForeignCamera]:
    """Read the cameras that Bundler registered; those with focal length 0 are not.

    Args:
        source: bundle.out; the list of photographs lies beside it, or one folder up.

    Raises:
        InputError: the file or its list cannot be read, or a pose is no pose.
    """
    try:
        lines = [line for line in read_text(source).splitlines() if not line.startswith("#")]
        count = int(lines[0].split()[0])
        if not 0 <= count <= len(lines):
            raise ValueError(f"it cannot hold {count} cameras")
        values = np.array(" ".join(lines[1 : 1 + 5 * count]).split(), float).reshape(count, 5, 3)
    except (OSError, ValueError, LookupError, OverflowError) as error:
        raise InputError(
            f"{source} cannot be read as Bundler's bundle.out ({error}); export it again.", path=source
        ) from error
    found = {}
    for name, ((focal, k1, k2), *rows, translation) in zip(_names(source, count), values, strict=True):
        if focal == 0:
            continue
        pose = _CV_FROM_BUNDLER @ np.column_stack([np.array(rows), translation])
        camera = KnownCamera(
            model="RADIAL", size=UNKNOWN_SIZE, params=(float(focal), math.nan, math.nan, float(k1), float(k2))
        )
        found[name] = ForeignCamera(cam_from_world=rigid(pose, name, source), camera=camera)
    return found


def _names(source: Path, count: int) -> list[str]:
    candidates = [folder / name for folder in (source.parent, source.parent.parent) for name in _LISTS]
    candidates.insert(0, source.with_suffix(".list.txt"))
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise InputError(
            f"{source} names no photographs; put Bundler's list.txt, one name a line, beside it.", path=source
        )
    try:
        names = [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no list of photographs ({error}); export it again.", path=path) from error
    if len(names) != count:
        raise InputError(
            f"{path} names {len(names)} photographs where {source.name} has {count} cameras; give the list that "
            "belongs to it.",
            path=path,
        )
    return names
