"""Where the pointmaps of an image put its pixels, along their viewing rays, and the depths that follow."""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.system.compiled import compiled

_L1_FLOOR = 2e-3
"""Distance below which L1 becomes quadratic, in units of the mean edge; chosen by hand."""
ONE, _HALF, _SMALLEST = np.float32(1), np.float32(0.5), np.float32(_L1_FLOOR**2)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a distance between a prediction and its pixel's point costs.

    Attributes:
        width: of Cauchy's loss on distances over depth; None: L1 on distances in world units.
        linear: predictions weigh by their confidence (Wang et al. 2024, equation 5), otherwise by its logarithm.
    """

    width: float | None
    linear: bool = False

    @property
    def sharpness(self) -> float:
        """One over the squared width, which is what the kernels read; 0: L1."""
        return 0.0 if self.width is None else 1 / self.width**2

    def confidence_weight(self, excess: Float32[np.ndarray, "*s"]) -> Float32[np.ndarray, "*s"]:
        """Return the weight of predictions by how far their confidence is above 1; what is not above weighs nothing."""
        return np.where(excess > 0, 1 + excess, 0) if self.linear else np.log(1 + excess)


@dataclass(frozen=True, kw_only=True)
class Votes:
    """Where the incidences of an image put its pixels, along their rays.

    Attributes:
        depths: depth of the point of the ray nearest to each prediction (l, s).
        gaps: squared distance of the prediction from the ray (l, s).
        squared_rays: squared length of the rays that have depth 1 (s,).
    """

    depths: Float32[np.ndarray, "l s"]
    gaps: Float32[np.ndarray, "l s"]
    squared_rays: Float32[np.ndarray, " s"]


@compiled
@no_type_check
def irls_weight(square, weight, scale, sharpness):
    """Return ω = w ρ'(n) / n from a squared distance; `scale` is the depth that Cauchy's loss compares it with."""
    if sharpness > 0:
        return weight / (scale * scale + square * sharpness)
    return weight / np.sqrt(max(square, _SMALLEST))


@compiled
@no_type_check
def robust_cost(square, scale, sharpness):
    """Return ρ, whose derivative `irls_weight` is; Cauchy's still needs its log taken, times half a squared width."""
    if sharpness > 0:
        return ONE + square * sharpness / (scale * scale)
    distance = np.sqrt(max(square, _SMALLEST))
    return _HALF * (square / distance + distance)


@compiled
@no_type_check
def camera_rays(xy, focal, principal):
    """Return the viewing rays of pixels, with depth 1, in the camera's axes (3, s), and their squared lengths."""
    rays = np.ones((3, len(xy)), np.float32)
    squared = np.empty(len(xy), np.float32)
    for p in range(len(xy)):
        x, y = np.float32((xy[p, 0] - principal[0]) / focal), np.float32((xy[p, 1] - principal[1]) / focal)
        rays[0, p], rays[1, p], squared[p] = x, y, x * x + y * y + ONE
    return rays, squared


@compiled
@no_type_check
def frames(edges, num_tied, index, rotations, centres, edge_rotations, edge_centres, log_scales):
    """Return for each incidence the (3, 4) affine transform of its points into the axes of the image's camera.

    The first `num_tied` ones are in that camera's frame already, but for their scale.
    """
    found = np.empty((len(edges), 3, 4), np.float32)
    for k in range(len(edges)):
        edge = edges[k]
        scale = np.exp(log_scales[edge])
        if k < num_tied:
            found[k] = 0
            found[k, 0, 0] = found[k, 1, 1] = found[k, 2, 2] = scale
            continue
        for a in range(3):
            shift = 0.0
            for c in range(3):
                shift += rotations[index, c, a] * (edge_centres[edge, c] - centres[index, c])
            found[k, a, 3] = shift
            for b in range(3):
                turn = 0.0
                for c in range(3):
                    turn += rotations[index, c, a] * edge_rotations[edge, c, b]
                found[k, a, b] = scale * turn
    return found


@compiled
@no_type_check
def cast_votes(rays, squared_rays, transforms, points, rows):
    """Express predicted points along the rays of their pixels: depths and squared distances from the ray (l, s).

    `rows` are the incidences in `points` that take part.
    """
    depths, gaps = (
        np.empty((len(rows), len(squared_rays)), np.float32),
        np.empty((len(rows), len(squared_rays)), np.float32),
    )
    for k in range(len(rows)):
        t, point = transforms[k], points[rows[k]]
        for p in range(len(squared_rays)):
            x, y, z = point[0, p], point[1, p], point[2, p]
            a = t[0, 0] * x + t[0, 1] * y + t[0, 2] * z + t[0, 3]
            b = t[1, 0] * x + t[1, 1] * y + t[1, 2] * z + t[1, 3]
            c = t[2, 0] * x + t[2, 1] * y + t[2, 2] * z + t[2, 3]
            along = (a * rays[0, p] + b * rays[1, p] + c) / squared_rays[p]
            a, b, c = a - along * rays[0, p], b - along * rays[1, p], c - along
            depths[k, p], gaps[k, p] = along, a * a + b * b + c * c
    return depths, gaps


@compiled
@no_type_check
def irls_depths(votes, gaps, squared_rays, weights, scales, start, sharpness, rounds):
    """Improve depths by reweighted means of the votes.

    Returns:
        The depths (s,), those of `start` where nothing weighs, and the weights ω (l, s) they are the exact mean of.
    """
    sharpness = np.float32(sharpness)
    depths, robust = start.copy(), np.empty_like(votes)
    total, mean = np.empty_like(start), np.empty_like(start)
    for _ in range(rounds):
        total[:], mean[:] = np.float32(0), np.float32(0)
        for k in range(len(votes)):
            for p in range(len(start)):
                off = votes[k, p] - depths[p]
                value = irls_weight(off * off * squared_rays[p] + gaps[k, p], weights[k, p], scales[p], sharpness)
                robust[k, p] = value
                total[p] += value
                mean[p] += value * votes[k, p]
        for p in range(len(start)):
            if total[p] > 0:
                depths[p] = mean[p] / total[p]
    return depths, robust


def image_votes(
    points: Float32[np.ndarray, "l 3 s"],
    edges: Int64[np.ndarray, " l"],
    xy: Float64[np.ndarray, "s 2"],
    placement: Placement,
    index: int,
    num_own: int,
) -> Votes:
    """Express an image's predictions along its rays; the first `num_own` ones are its own pointmaps."""
    rays, squared = camera_rays(xy, placement.focals[index], placement.principal[index])
    depths, gaps = cast_votes(
        rays, squared, frames_of(edges, num_own, placement, index), points, np.arange(len(points))
    )
    return Votes(depths=depths, gaps=gaps, squared_rays=squared)


def frames_of(
    edges: Int64[np.ndarray, " l"], num_own: int, placement: Placement, index: int
) -> Float32[np.ndarray, "l 3 4"]:
    """Return camera from pointmap, with the edge's scale; the first `num_own` ones are the image's own."""
    return np.asarray(
        frames(
            edges,
            0 if placement.free else num_own,
            index,
            placement.rotations,
            placement.centres,
            placement.edge_rotations,
            placement.edge_centres,
            placement.log_scales,
        )
    )
