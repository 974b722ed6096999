"""Surveyed points and the pixels that show them, from a table."""

from pathlib import Path

import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.known_names import resolve
from dust3r_sfm.images.priors.positions import offset_of
from dust3r_sfm.images.priors.table import Row, read_table
from dust3r_sfm.types import ControlPoints, ImageSet

MIN_POINTS = 3
"""Points that tell position, direction and size of a model."""
_HEADS = ("point", "x", "y", "z", "image", "px", "py")


def read_control_points(
    path: Path, images: ImageSet
) -> tuple[ControlPoints, tuple[float, float, float], tuple[str, ...]]:
    """Read a table of marks: point,x,y,z,image,px,py, one a line; x, y, z in metres (z up), px, py in raw pixels.

    Args:
        path: of the table.
        images: the photographs.

    Returns:
        The points that two photographs show at least; what was taken from their coordinates, if they are large; and
        sentences about what is not used.

    Raises:
        InputError: it cannot be read, contradicts itself, marks a place outside a photograph, or fewer than three
            points are left.
    """
    rows = read_table(path, [_HEADS], [], "control points")
    used, _ = resolve({row.cells["image"]: row for row in rows}, images.names, path, "control point")
    image_of = {row.cells["image"]: images.names.index(name) for name, row in used.items()}
    where: dict[str, tuple[float, ...]] = {}
    marks: dict[str, dict[int, tuple[float, float]]] = {}
    for row in rows:
        point, place = row.cells["point"], tuple(row.number(head) for head in ("x", "y", "z"))
        xy = (row.number("px"), row.number("py"))
        if where.setdefault(point, place) != place:
            raise InputError(f"Line {row.line} of {path} gives {point} another position than before.", path=path)
        image = image_of.get(row.cells["image"])
        if image is None:
            continue
        _require_inside(row, images, image, xy)
        if marks.setdefault(point, {}).setdefault(image, xy) != xy:
            raise InputError(
                f"Line {row.line} of {path} marks {point} in {row.cells['image']} a second time; keep one.", path=path
            )
    warnings = []
    strange = {row.cells["image"] for row in rows} - set(image_of)
    if strange:
        warnings.append(
            f"{len(strange)} photographs that {path} names are not among these, {min(strange)} for one; their marks "
            "are not used."
        )
    names = [point for point in where if len(marks.get(point, ())) >= 2]
    counts = {point: len(marks.get(point, ())) for point in where if point not in names}
    warnings += [
        f"Control point {point} is left out: it is marked in {count or 'no'} photograph, and it takes two."
        for point, count in counts.items()
    ]
    if len(names) < MIN_POINTS:
        raise InputError(
            f"{path} has {len(names)} control points that two photographs show at least; {MIN_POINTS} are needed.",
            path=path,
        )
    xyz = np.array([where[point] for point in names])
    offset = offset_of(xyz)
    flat = [(p, image, *xy) for p, point in enumerate(names) for image, xy in sorted(marks[point].items())]
    points = ControlPoints(
        names=tuple(names),
        xyz=xyz - offset,
        point_of=np.array([mark[0] for mark in flat], np.int64),
        image_of=np.array([mark[1] for mark in flat], np.int64),
        xy=np.array([mark[2:] for mark in flat], np.float64),
    )
    return points, offset, tuple(warnings)


def _require_inside(row: Row, images: ImageSet, image: int, xy: tuple[float, float]) -> None:
    width, height = images.views[image].size
    if not (0 <= xy[0] <= width and 0 <= xy[1] <= height):
        raise InputError(
            f"Line {row.line} of {row.path} marks ({xy[0]:g}, {xy[1]:g}) in {row.cells['image']}, which has "
            f"{width} × {height} pixels; pixels are those of the file as stored.",
            path=row.path,
        )
