"""The kernel of the alignment: what one image's pixels say about its cameras and edges, with their depths eliminated.

For a pixel with viewing ray q (depth 1, camera axes) and incidence l (a pointmap of the image in one edge), whose
prediction in the camera's axes is Y_l,

    a = q D,   r_l = a − Y_l,   cost Σ w ρ(|r_l|)

(Wang et al. 2024, equation 5, with the pixel's point written as depth along its ray; there ρ(n) = n and w = C). An
incidence moves by δY_l = ρ_l × Y_l + κ_l + λ_l Y_l, the intrinsics by δa = φ_k G_k a. Given the robust weights ω, the
best depth D is a weighted mean. With the unit ray h, Ω = Σ_l ω_l and z_l = h·κ_l + |a| λ_l, eliminating it (variable
projection) leaves

    Σ_l ω_l |(1 − hhᵀ)(δY_l − δa)|² + Σ_l ω_l z_l² − (Σ_l ω_l z_l)² / Ω

with Y ≈ a in the derivatives. So few sums over the pixels are all that a step needs, most of them matrix products: Σωa,
Σωaaᵀ and the like per incidence, and Σ ω_l ω_m / Ω (h, |a|)(h, |a|)ᵀ per pair of incidences.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Float64

from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.solve.image_data import ImageData
from dust3r_sfm.alignment.solve.votes import ONE, Loss, camera_rays, cast_votes, frames_of, irls_depths, robust_cost
from dust3r_sfm.system.compiled import compiled

WEIGHT, POINT, OUTER, INTRINSICS = 0, 1, 4, 10
"""Where the columns of `Statistics.moments` start: Σω; Σωa; the upper half of Σωaaᵀ; then those of the intrinsics."""
OUTER_OF = OUTER + np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
"""The column of each entry of Σωaaᵀ."""
PER_INTRINSIC, ACROSS, AROUND = 6, 0, 3
"""Columns of each intrinsic, and which of them start G a less its part along the ray, and a × G a."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """The sums over one image's pixels (l incidences, m intrinsics).

    Attributes:
        cost: Σ w ρ.
        depths: best depth of each sample (s,).
        residual_moments: Σ ω r (a, 1)ᵀ of each incidence (l, 3, 4).
        squares: Σ ω |r|² of each incidence (l,).
        moments: Σ ω of each incidence over the columns named above (l, 10 + 6 m).
        intrinsics: Σ Ω of the products of the G a, without their parts along the ray (m, m).
        depth_residuals: Σ ω_l ω_m / Ω (h·r_l) over the rows of `gram`; no incidences if not asked for.
        gram: Σ ω_l ω_m / Ω over (h, |a|) of each incidence; incidences that only scale have |a| alone (rows, rows).
    """

    cost: float
    depths: Float32[np.ndarray, " s"]
    residual_moments: Float64[np.ndarray, "l 3 4"]
    squares: Float64[np.ndarray, " l"]
    moments: Float64[np.ndarray, "l f"]
    intrinsics: Float64[np.ndarray, "m m"]
    gram: Float64[np.ndarray, "g g"]
    depth_residuals: Float64[np.ndarray, "k g"]


def image_statistics(
    image: ImageData,
    placement: Placement,
    generators: Float64[np.ndarray, "m 3 3"],
    loss: Loss,
    depths: Float32[np.ndarray, " s"],
    rounds: int,
    with_depth_residuals: bool = False,
) -> Statistics:
    """Sum over the samples of one image, at their best depths.

    Args:
        image: its samples; its own pointmaps can only scale unless edges are free.
        placement: cameras and edges.
        generators: the matrices G.
        loss: the loss.
        depths: depths to start from.
        rounds: reweightings of the depths.
        with_depth_residuals: sum these too.
    """
    rays, squared = camera_rays(image.xy, placement.focals[image.index], placement.principal[image.index])
    transforms = frames_of(image.edges, image.num_own, placement, image.index)
    votes, gaps = cast_votes(rays, squared, transforms, image.points, image.rows)
    depths, robust = irls_depths(votes, gaps, squared, image.weights, image.scales, depths, loss.sharpness, rounds)
    costs, halves, along, residual_moments, squares, moments, intrinsics = _sums(
        rays,
        squared,
        transforms,
        image.points,
        image.rows,
        votes,
        gaps,
        robust,
        image.scales,
        depths,
        loss.sharpness,
        0 if placement.free else image.num_own,
        generators,
        with_depth_residuals,
    )
    if loss.width is not None:
        np.log(costs, out=costs)
    return Statistics(
        cost=_dot(image.weights, costs) * (1 if loss.width is None else loss.width**2 / 2),
        depths=depths,
        residual_moments=residual_moments,
        squares=squares,
        moments=moments,
        intrinsics=intrinsics,
        gram=(halves @ halves.T).astype(np.float64),
        depth_residuals=(along @ halves.T).astype(np.float64),
    )


@compiled
@no_type_check
def _dot(first, second):
    total = 0.0
    for k in range(len(first)):
        for p in range(first.shape[1]):
            total += np.float64(first[k, p]) * np.float64(second[k, p])
    return total


@compiled
@no_type_check
def _by_sample(rays, squared_rays, depths, generators):
    """Return, per sample, what the sums of one incidence run over (f, s) and the parts of the G a across (m, 3, s)."""
    num = len(generators)
    columns = np.empty((INTRINSICS + PER_INTRINSIC * num, len(depths)), np.float32)
    flat = np.empty((num, 3, len(depths)), np.float32)
    turned = np.empty(3, np.float32)
    for p in range(len(depths)):
        depth = depths[p]
        a, b, c = rays[0, p] * depth, rays[1, p] * depth, depth
        columns[WEIGHT, p] = ONE
        columns[POINT, p], columns[POINT + 1, p], columns[POINT + 2, p] = a, b, c
        columns[OUTER, p], columns[OUTER + 1, p], columns[OUTER + 2, p] = a * a, a * b, a * c
        columns[OUTER + 3, p], columns[OUTER + 4, p], columns[OUTER + 5, p] = b * b, b * c, c * c
        for m in range(num):
            for axis in range(3):
                g = generators[m, axis]
                turned[axis] = g[0] * a + g[1] * b + g[2] * c
            along = (turned[0] * rays[0, p] + turned[1] * rays[1, p] + turned[2]) / squared_rays[p]
            across = INTRINSICS + PER_INTRINSIC * m + ACROSS
            around = INTRINSICS + PER_INTRINSIC * m + AROUND
            for axis in range(3):
                flat[m, axis, p] = columns[across + axis, p] = turned[axis] - along * rays[axis, p]
            columns[around, p] = b * turned[2] - c * turned[1]
            columns[around + 1, p] = c * turned[0] - a * turned[2]
            columns[around + 2, p] = a * turned[1] - b * turned[0]
    return columns, flat


@compiled
@no_type_check
def _sums(
    rays,
    squared_rays,
    transforms,
    points,
    rows,
    votes,
    gaps,
    robust,
    scales,
    depths,
    sharpness,
    num_scaled,
    generators,
    with_depth_residuals,
):
    """Sum over the samples (see `Statistics`); return also ρ of each vote and the rows whose products `gram` is."""
    num, size, sharpness = len(votes), len(depths), np.float32(sharpness)
    columns, flat = _by_sample(rays, squared_rays, depths, generators)
    total = np.zeros(size, np.float32)
    for k in range(num):
        for p in range(size):
            total[p] += robust[k, p]
    basis = np.empty((4, size), np.float32)
    for p in range(size):
        root = ONE / np.sqrt(total[p]) if total[p] > 0 else ONE
        length = np.sqrt(squared_rays[p])
        basis[0, p], basis[1, p], basis[2, p] = rays[0, p] / length * root, rays[1, p] / length * root, root / length
        basis[3, p] = length * depths[p] * root

    intrinsics = np.zeros((len(generators), len(generators)))
    for m in range(len(generators)):
        for n in range(m + 1):
            value = np.float32(0)
            for p in range(size):
                across = flat[m, 0, p] * flat[n, 0, p] + flat[m, 1, p] * flat[n, 1, p] + flat[m, 2, p] * flat[n, 2, p]
                value += total[p] * across
            intrinsics[m, n] = intrinsics[n, m] = value

    costs = np.empty_like(votes)
    halves = np.empty((num_scaled + 4 * (num - num_scaled), size), np.float32)
    depth_residuals = np.empty((num if with_depth_residuals else 0, size), np.float32)
    residual_moments, squares, moments = np.empty((num, 3, 4)), np.empty(num), np.empty((num, len(columns)))
    weighted = np.empty((3, size), np.float32)
    for k in range(num):
        t, point, square_sum = transforms[k], points[rows[k]], np.float32(0)
        for p in range(size):
            along = depths[p] - votes[k, p]
            square = along * along * squared_rays[p] + gaps[k, p]
            costs[k, p] = robust_cost(square, scales[p], sharpness)
            square_sum += robust[k, p] * square
        squares[k] = square_sum
        for axis in range(3):
            for p in range(size):
                x, y, z = point[0, p], point[1, p], point[2, p]
                placed = t[axis, 0] * x + t[axis, 1] * y + t[axis, 2] * z + t[axis, 3]
                weighted[axis, p] = robust[k, p] * (rays[axis, p] * depths[p] - placed)
            for f in range(OUTER):
                value = np.float32(0)
                for p in range(size):
                    value += weighted[axis, p] * columns[f, p]
                residual_moments[k, axis, 3 if f == WEIGHT else f - POINT] = value
        for f in range(len(columns)):
            value = np.float32(0)
            for p in range(size):
                value += robust[k, p] * columns[f, p]
            moments[k, f] = value
        if k < num_scaled:
            for p in range(size):
                halves[k, p] = robust[k, p] * basis[3, p]
        else:
            first = num_scaled + 4 * (k - num_scaled)
            for f in range(4):
                for p in range(size):
                    halves[first + f, p] = robust[k, p] * basis[f, p]
        if with_depth_residuals:
            for p in range(size):
                along = robust[k, p] * (depths[p] - votes[k, p]) * squared_rays[p]
                depth_residuals[k, p] = along * basis[2, p]
    return costs, halves, depth_residuals, residual_moments, squares, moments, intrinsics
