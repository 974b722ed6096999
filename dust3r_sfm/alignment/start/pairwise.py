"""What single pairs say: focal lengths, and how the two cameras of a pair stand to each other."""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.robust import median_of, weighted_median
from dust3r_sfm.alignment.samples import Samples
from dust3r_sfm.geometry.focal import focal_of_points
from dust3r_sfm.geometry.procrustes import rotation_and_scale
from dust3r_sfm.geometry.transforms import rotation_angle
from dust3r_sfm.system.compiled import compiled

_MIN_RESIDUAL_OF_DISTANCE = 0.01
"""Disagreement of the two directions of a pair below which it is as good as any; chosen by hand."""
_NUM_FIT_ROUNDS = 6
"""Reweightings of a similarity; chosen by hand."""
_NUM_FOCAL_SAMPLES = 1000
"""Pixels of a map that give its focal length; chosen by hand."""
_USUAL_FOCAL_OF_SIDE = 1.1
"""Focal length over the longer side of images about which nothing says anything (49 degrees); chosen by hand."""
_TINY = np.float32(1e-12)


@dataclass(frozen=True, kw_only=True)
class RelativePoses:
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
            part = np.s_[:_NUM_FOCAL_SAMPLES]
            points, weights = image.points[incidence, :, part].T, image.weights[incidence, part]
            focal = focal_of_points(points, image.xy[part], weights)
            if np.isfinite(focal) and focal > 0:
                found.append((index, focal, float(image.weights[incidence].sum())))
    if not found:
        return np.asarray(_USUAL_FOCAL_OF_SIDE * long_sides)
    source = np.array([entry[0] for entry in found])
    values, weights = np.array([entry[1] for entry in found]), np.array([entry[2] for entry in found])
    focals = np.asarray(weighted_median(values / long_sides[source], weights) * long_sides)
    for camera in np.unique(camera_of[source]):
        of_camera = camera_of[source] == camera
        focals[camera_of == camera] = weighted_median(values[of_camera], weights[of_camera])
    return focals


def relative_poses(samples: Samples, focals: Float64[np.ndarray, " n"]) -> RelativePoses:
    """Fit every pair: a robust similarity between its two directions, or a perspective pose where there is only one."""
    directed = {(int(i), int(j)): e for e, (i, j) in enumerate(samples.edges)}
    images = sorted({(min(pair), max(pair)) for pair in directed})
    edges = np.array([(directed.get((i, j), -1), directed.get((j, i), -1)) for i, j in images], np.int64).reshape(-1, 2)
    rotations, centres = np.tile(np.eye(3), (len(images), 1, 1)), np.zeros((len(images), 2, 3))
    log_ratios, qualities = np.zeros(len(images)), np.zeros(len(images))
    both = (edges >= 0).all(1)
    for p in np.flatnonzero(both):
        rotation, scale, shift, qualities[p] = _between_directions(samples, edges[p])
        rotations[p], log_ratios[p] = rotation, np.log(scale)
        centres[p, 0], centres[p, 1] = shift, -rotation.T @ shift / scale
    for p in np.flatnonzero(~both):
        there, back = edges[p].tolist()
        edge, seen = (there, 1) if there >= 0 else (back, 0)
        image = images[p][seen]
        pose, qualities[p] = _from_perspective(samples, edge, float(focals[image]))
        # `pose` is the seen camera in the edge's frame; the missing direction has no frame of its own.
        rotations[p] = pose[:, :3] if seen else pose[:, :3].T
        centres[p, 1 - seen] = pose[:, 3]
    return RelativePoses(
        images=np.array(images, np.int64).reshape(-1, 2),
        edges=edges,
        rotations=rotations,
        centres=centres,
        log_ratios=log_ratios,
        qualities=qualities,
    )


def pose_errors(
    pairs: RelativePoses, placement: Placement
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    """Return by how many degrees each pair misses the placed cameras: their rotation, and the baseline's direction."""
    first, second = pairs.images.T
    turn = np.swapaxes(placement.rotations[first], 1, 2) @ placement.rotations[second]
    side = np.where(pairs.edges[:, 0] >= 0, 0, 1)
    rows = np.arange(len(side))
    source, target = pairs.images[rows, side], pairs.images[rows, 1 - side]
    step = placement.centres[target] - placement.centres[source]
    placed, said = np.einsum("pji,pj->pi", placement.rotations[source], step), pairs.centres[rows, side]
    length = np.maximum(np.linalg.norm(placed, axis=1) * np.linalg.norm(said, axis=1), 1e-300)
    direction = np.degrees(np.arccos(np.clip((placed * said).sum(1) / length, -1, 1)))
    return rotation_angle(np.swapaxes(turn, 1, 2) @ pairs.rotations), direction


def _between_directions(
    samples: Samples, edges: Int64[np.ndarray, " 2"]
) -> tuple[Float64[np.ndarray, "3 3"], float, Float64[np.ndarray, " 3"], float]:
    """Fit frame i from frame j on the pixels of both images, which both edges predict.

    Returns:
        Rotation, scale, shift, and the quality of the fit.
    """
    there, back = edges.tolist()
    maps = [(*samples.of(there, role), *samples.of(back, 1 - role)) for role in (0, 1)]
    target, known, source, also = (np.concatenate(parts, axis=-1) for parts in zip(*maps, strict=True))
    weight = np.sqrt(known * also)
    rotation, scale, shift, median = _robust_similarity(source, target, weight)
    quality = float(weight.mean()) / max(median, _MIN_RESIDUAL_OF_DISTANCE) if (weight > 0).sum() > 2 else 0.0
    return rotation, scale, shift, quality


_rotation_and_scale = compiled(rotation_and_scale)


@compiled
@no_type_check
def _robust_similarity(source, target, weight):
    """Fit target ≈ s R source + t (Umeyama 1991) by reweighting with the distances over those of the targets.

    Args:
        source, target: corresponding points (3, n).
        weight: of each (n,).

    Returns:
        R, s, t and the weighted median of the relative distances.
    """
    size = len(weight)
    distance, robust, residual = np.empty_like(weight), np.empty_like(weight), np.empty_like(weight)
    for p in range(size):
        x, y, z = target[0, p], target[1, p], target[2, p]
        distance[p] = max(np.sqrt(x * x + y * y + z * z), _TINY)
        robust[p] = weight[p] / (distance[p] * distance[p])
    rotation, scale, shift, median = np.eye(3), 1.0, np.zeros(3), 0.0
    for _ in range(_NUM_FIT_ROUNDS):
        total, square = 0.0, 0.0
        means, products = np.zeros((2, 3)), np.zeros((3, 3))
        for p in range(size):
            total += robust[p]
        if total <= 0:
            break
        for a in range(3):
            first, second = 0.0, 0.0
            for p in range(size):
                first += robust[p] * source[a, p]
                second += robust[p] * target[a, p]
            means[0, a], means[1, a] = first / total, second / total
        for a in range(3):
            for p in range(size):
                off = source[a, p] - means[0, a]
                square += robust[p] * off * off
            for b in range(3):
                value = 0.0
                for p in range(size):
                    value += robust[p] * (target[a, p] - means[1, a]) * (source[b, p] - means[0, b])
                products[a, b] = value
        rotation, scale = _rotation_and_scale(products, square)
        shift = means[1] - scale * (rotation @ means[0])

        turn, move = (scale * rotation).astype(np.float32), shift.astype(np.float32)
        for p in range(size):
            x, y, z = source[0, p], source[1, p], source[2, p]
            a = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z + move[0] - target[0, p]
            b = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z + move[1] - target[1, p]
            c = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z + move[2] - target[2, p]
            residual[p] = np.sqrt(a * a + b * b + c * c) / distance[p]
        median = median_of(residual, weight)
        width = np.float32(max(2 * median, 1e-9))
        for p in range(size):
            off = residual[p] / width
            robust[p] = weight[p] / (distance[p] * distance[p] * (np.float32(1) + off * off))
    return rotation, scale, shift, median


def _from_perspective(samples: Samples, edge: int, focal: float) -> tuple[np.ndarray, float]:
    """Find camera j in the frame of edge (i, j) from where it sees the points, and the quality of that pose."""
    import cv2

    points, weights = (array.T.astype(np.float64) for array in samples.of(edge, 1))
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
    quality = float(weight.sum() / len(usable)) / max(float(weighted_median(off, weight)), _MIN_RESIDUAL_OF_DISTANCE)
    return np.c_[rotation.T, -rotation.T @ translation], quality
