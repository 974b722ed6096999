"""Whether `colmap patch_match_stereo` can use each image of a model, by COLMAP's rules (src/colmap/mvs/model.cc)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.system._pycolmap import Reconstruction

_MIN_SOURCES = 3
"""Fewer source images leave patch-match stereo little to agree on; chosen by hand."""

_MIN_ANGLE_DEGREES = 1.0
_ANGLE_PERCENTILE = 75
_NEAR_OF_POINTS, _FAR_OF_POINTS = 0.01, 0.99
"""Least triangulation angle of a source image and which percentile of its points' angles it is, and shares of the
points between whose depths stereo looks; COLMAP's defaults."""


@dataclass(frozen=True, kw_only=True)
class ImageCheck:
    """What patch-match stereo will find for one image.

    Attributes:
        name: image name.
        num_points: 3-D points that the image observes.
        sources: names of the usable source images, most shared points first.
        depth_range: 1st and 99th percentile of the points' depths, or None without a point in front of the camera.
        problem: what is wrong, in one sentence, or None.
    """

    name: str
    num_points: int
    sources: tuple[str, ...]
    depth_range: tuple[float, float] | None
    problem: str | None


def check_workspace(reconstruction: Reconstruction) -> list[str]:
    """Sentences for the user, one per image that stereo will skip or do badly."""
    return [check.problem for check in check_images(reconstruction) if check.problem is not None]


def check_images(reconstruction: Reconstruction) -> list[ImageCheck]:
    """Check every registered image of a model, in order of name.

    Another image is usable as a source when it shares points with this one and the 75th percentile of their
    triangulation angles reaches 1 degree.
    """
    images = sorted((image for image in reconstruction.images.values() if image.has_pose), key=lambda image: image.name)
    index_of = {image.image_id: index for index, image in enumerate(images)}
    centres = np.array([image.projection_center() for image in images]).reshape(-1, 3)
    xyz, track_of, image_of = _observations(reconstruction, index_of)
    lengths = np.bincount(track_of, minlength=len(xyz))
    starts = np.cumsum(lengths) - lengths
    wanted = min(_MIN_SOURCES, len(images) - 1)
    checks = []
    for index, image in enumerate(images):
        points = track_of[image_of == index]
        sources = _sources(index, points, xyz, centres, starts, lengths, image_of)
        third_row = image.cam_from_world().matrix()[2]
        depth_range = _depth_range(xyz[points] @ third_row[:3] + third_row[3])
        checks.append(
            ImageCheck(
                name=image.name,
                num_points=len(points),
                sources=tuple(images[source].name for source in sources),
                depth_range=depth_range,
                problem=_problem(image.name, len(points), len(sources), wanted, depth_range),
            )
        )
    return checks


def _observations(
    reconstruction: Reconstruction, index_of: dict[int, int]
) -> tuple[Float64[np.ndarray, "t 3"], Int64[np.ndarray, " o"], Int64[np.ndarray, " o"]]:
    """Points, and the point and image of each observation, ordered by point."""
    points = list(reconstruction.points3D.values())
    xyz = np.array([point.xyz for point in points], dtype=np.float64).reshape(-1, 3)
    elements = [[index_of[element.image_id] for element in point.track.elements] for point in points]
    track_of = np.repeat(np.arange(len(points)), [len(row) for row in elements])
    image_of = np.array([index for row in elements for index in row], dtype=np.int64)
    # A foreign track may see an image twice; COLMAP counts it once.
    key = np.sort(track_of * len(index_of) + image_of)
    key = key[np.diff(key, prepend=-1) > 0]
    return xyz, key // len(index_of), key % len(index_of)


def _sources(
    reference: int,
    points: Int64[np.ndarray, " p"],
    xyz: Float64[np.ndarray, "t 3"],
    centres: Float64[np.ndarray, "n 3"],
    starts: Int64[np.ndarray, " t"],
    lengths: Int64[np.ndarray, " t"],
    image_of: Int64[np.ndarray, " o"],
) -> Int64[np.ndarray, " s"]:
    """Images that COLMAP's `__auto__` would take for a reference image, best first."""
    count = lengths[points]
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    others = image_of[np.repeat(starts[points], count) + within]
    point_of = np.repeat(points, count)
    is_other = others != reference
    others, point_of = others[is_other], point_of[is_other]
    angles = _angles(xyz[point_of], centres[reference], centres[others])
    order = np.lexsort((angles, others))
    shared = np.bincount(others, minlength=len(centres))
    candidates = np.flatnonzero(shared)
    first = (np.cumsum(shared) - shared)[candidates]
    rank = np.round(_ANGLE_PERCENTILE / 100 * (shared[candidates] - 1)).astype(np.int64)
    usable = candidates[angles[order][first + rank] >= _MIN_ANGLE_DEGREES]
    ranked: Int64[np.ndarray, " s"] = usable[np.argsort(-shared[usable], kind="stable")]
    return ranked


def _angles(
    xyz: Float64[np.ndarray, "k 3"], centre: Float64[np.ndarray, "3"], centres: Float64[np.ndarray, "k 3"]
) -> Float64[np.ndarray, " k"]:
    """Angles between two rays to each point in degrees, at most 90 (the smaller of the two between the lines)."""
    ray1, ray2 = xyz - centre, xyz - centres
    across = np.linalg.norm(np.cross(ray1, ray2), axis=1)
    return np.asarray(np.degrees(np.arctan2(across, np.abs(np.sum(ray1 * ray2, axis=1)))))


def _depth_range(depths: Float64[np.ndarray, " p"]) -> tuple[float, float] | None:
    ordered = np.sort(depths[depths > 0])
    if len(ordered) == 0:
        return None
    near, far = (ordered[int(share * len(ordered))] for share in (_NEAR_OF_POINTS, _FAR_OF_POINTS))
    return float(near), float(far)


def _problem(
    name: str, num_points: int, num_sources: int, wanted: int, depth_range: tuple[float, float] | None
) -> str | None:
    if num_points == 0:
        return f"'{name}' observes no 3-D point, so stereo skips it; add photographs that overlap it."
    if depth_range is None:
        return f"'{name}' has no 3-D point in front of it, so stereo has no depth range; leave the image out."
    if num_sources == 0:
        return (
            f"'{name}' has no source image at 1 degree or more, so stereo skips it; add photographs from other places."
        )
    if num_sources < wanted:
        return f"'{name}' has only {num_sources} source images for stereo; add photographs near it."
    return None
