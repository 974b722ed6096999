"""What single pairs say: focal lengths, and how the two cameras of a pair stand to each other."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.alignment.robust import weighted_median
from dust3r_sfm.alignment.samples import Samples
from dust3r_sfm.geometry.focal import focal_of_points
from dust3r_sfm.geometry.procrustes import similarity
from dust3r_sfm.geometry.transforms import apply

MIN_RESIDUAL = 0.01
"""Relative disagreement of the two directions of a pair below which it is as good as any."""
FIT_ROUNDS = 6
POINTS_AT_ONCE = 1 << 16
FIELD_OF_VIEW = 1.1
"""Focal length over the longer side, for images about which nothing says anything (49 degrees)."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Relative poses of the pairs (i, j), i < j, that have at least one directed edge.

    Attributes:
        images: (i, j) (p, 2).
        edges: directed edges (i, j) and (j, i), -1 where a direction is missing (p, 2).
        rotations: camera i from camera j (p, 3, 3).
        centres: camera j's centre in the frame of edge (i, j), camera i's centre in that of (j, i) (p, 2, 3).
        log_ratios: log of the scale that brings edge (j, i) to the size of edge (i, j); 0 with one direction (p,).
        qualities: how much the pair knows and how well its directions agree (p,); 0 where the fit failed.
    """

    images: Int64[np.ndarray, "p 2"]
    edges: Int64[np.ndarray, "p 2"]
    rotations: Float64[np.ndarray, "p 3 3"]
    centres: Float64[np.ndarray, "p 2 3"]
    log_ratios: Float64[np.ndarray, " p"]
    qualities: Float64[np.ndarray, " p"]


def focals_of_cameras(
    samples: Samples, camera_of: Int64[np.ndarray, " n"], long_sides: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Return each image's focal length: the weighted median over the edges that start at images of its camera.

    Images of cameras without such an edge take the median angle of view of the others.
    """
    found: list[tuple[int, float, float]] = []
    for index, image in enumerate(samples.images):
        for incidence in np.flatnonzero(image.roles == 0):
            focal = focal_of_points(image.points[incidence].T, image.xy, image.weights[incidence])
            if np.isfinite(focal) and focal > 0:
                found.append((index, focal, float(image.weights[incidence].sum())))
    if not found:
        return np.asarray(FIELD_OF_VIEW * long_sides)
    source = np.array([entry[0] for entry in found])
    values, weights = np.array([entry[1] for entry in found]), np.array([entry[2] for entry in found])
    focals = np.asarray(weighted_median(values / long_sides[source], weights) * long_sides)
    for camera in np.unique(camera_of[source]):
        of_camera = camera_of[source] == camera
        focals[camera_of == camera] = weighted_median(values[of_camera], weights[of_camera])
    return focals


def relative_poses(samples: Samples, focals: Float64[np.ndarray, " n"]) -> Pairs:
    """Fit every pair: a robust similarity between its two directions, or a perspective pose where there is only one."""
    directed = {(int(i), int(j)): e for e, (i, j) in enumerate(samples.edges)}
    images = sorted({(min(pair), max(pair)) for pair in directed})
    edges = np.array([(directed.get((i, j), -1), directed.get((j, i), -1)) for i, j in images], np.int64).reshape(-1, 2)
    rotations, centres = np.tile(np.eye(3), (len(images), 1, 1)), np.zeros((len(images), 2, 3))
    log_ratios, qualities = np.zeros(len(images)), np.zeros(len(images))
    both = (edges >= 0).all(1)
    for chosen in _alike(samples, images, np.flatnonzero(both)):
        fit, qualities[chosen] = _between_directions(samples, edges[chosen])
        scale = np.cbrt(np.linalg.det(fit[:, :3, :3]))
        rotations[chosen], log_ratios[chosen] = fit[:, :3, :3] / scale[:, None, None], np.log(scale)
        centres[chosen, 0] = fit[:, :3, 3]
        back = np.swapaxes(rotations[chosen], 1, 2) @ fit[:, :3, 3:]
        centres[chosen, 1] = -back[:, :, 0] / scale[:, None]
    for p in np.flatnonzero(~both):
        there, back = edges[p].tolist()
        edge, seen = (there, 1) if there >= 0 else (back, 0)
        image = images[p][seen]
        pose, qualities[p] = _from_perspective(samples, edge, float(focals[image]))
        # `pose` is the seen camera in the edge's frame; the missing direction has no frame of its own.
        rotations[p] = pose[:, :3] if seen else pose[:, :3].T
        centres[p, 1 - seen] = pose[:, 3]
    return Pairs(
        images=np.array(images, np.int64).reshape(-1, 2),
        edges=edges,
        rotations=rotations,
        centres=centres,
        log_ratios=log_ratios,
        qualities=qualities,
    )


def _alike(
    samples: Samples, images: list[tuple[int, int]], pairs: Int64[np.ndarray, " k"]
) -> list[Int64[np.ndarray, " _"]]:
    """Group pairs whose images have as many samples, a few at a time, so that they can be fitted together."""
    sizes = [(len(samples.images[images[p][0]].xy), len(samples.images[images[p][1]].xy)) for p in pairs]
    groups: dict[tuple[int, int], list[int]] = {}
    for pair, size in zip(pairs.tolist(), sizes, strict=True):
        groups.setdefault(size, []).append(pair)
    found = []
    for size, members in groups.items():
        step = max(1, POINTS_AT_ONCE // max(sum(size), 1))
        found += [np.array(members[start : start + step]) for start in range(0, len(members), step)]
    return found


def _between_directions(
    samples: Samples, edges: Int64[np.ndarray, "p 2"]
) -> tuple[Float64[np.ndarray, "p 4 4"], Float64[np.ndarray, " p"]]:
    """Fit frame i from frame j on the pixels of both images, which both edges predict; and the fits' qualities."""
    there = [[samples.of(edge, role) for role in (0, 1)] for edge in edges[:, 0].tolist()]
    back = [[samples.of(edge, 1 - role) for role in (0, 1)] for edge in edges[:, 1].tolist()]
    target = np.stack([np.concatenate([points for points, _ in maps]) for maps in there])
    source = np.stack([np.concatenate([points for points, _ in maps]) for maps in back])
    weight = np.stack([np.concatenate([weights for _, weights in maps]) for maps in there])
    weight = np.sqrt(weight * np.stack([np.concatenate([weights for _, weights in maps]) for maps in back]))

    distance = np.maximum(np.linalg.norm(target, axis=2), 1e-12)
    robust = weight / distance**2
    for _ in range(FIT_ROUNDS):
        fit = similarity(source, target, robust)
        residual = np.linalg.norm(apply(fit, source) - target, axis=2) / distance
        median = weighted_median(residual, weight)
        robust = weight / distance**2 / (1 + (residual / np.maximum(2 * median, 1e-9)[:, None]) ** 2)
    quality = weight.mean(1) / np.maximum(np.nan_to_num(median), MIN_RESIDUAL)
    return fit, np.where((weight > 0).sum(1) < 3, 0.0, quality)


def _from_perspective(samples: Samples, edge: int, focal: float) -> tuple[np.ndarray, float]:
    """Find camera j in the frame of edge (i, j) from where it sees the points, and the quality of that pose."""
    import cv2

    points, weights = samples.of(edge, 1)
    xy = samples.images[samples.edges[edge, 1]].xy
    usable = weights > 0
    points, xy, weight = points[usable], xy[usable], weights[usable]
    failed = np.c_[np.eye(3), np.zeros(3)]
    if len(points) < 6:
        return failed, 0.0
    matrix = np.diag([focal, focal, 1.0])
    found, vector, translation, _ = cv2.solvePnPRansac(
        points, xy, matrix, None, reprojectionError=0.01 * focal, iterationsCount=500, flags=cv2.SOLVEPNP_SQPNP
    )
    if not found:
        return failed, 0.0
    rotation = np.asarray(cv2.Rodrigues(vector)[0])
    seen = points @ rotation.T + translation.ravel()
    off = np.linalg.norm(seen[:, :2] / np.maximum(seen[:, 2:], 1e-9) - xy / focal, axis=1)
    quality = float(weight.sum() / len(usable)) / max(float(weighted_median(off, weight)), MIN_RESIDUAL)
    return np.c_[rotation.T, -rotation.T @ translation], quality
