"""The kernel of the alignment: what one image's pixels say about its cameras and edges, with their depths eliminated.

For a pixel with viewing ray q (depth 1, camera axes) and incidence l (a pointmap of the image in one edge), whose
prediction in the camera's axes is Y_l,

    a = q D,   r_l = a − Y_l,   cost Σ w ρ(|r_l|)

(DUSt3R, Wang et al. 2024, equation 5, with the pixel's point written as depth along its ray). An incidence moves by
δY_l = ρ_l × Y_l + κ_l + λ_l Y_l, the intrinsics by δa = φ_k G_k a. Given the robust weights ω, the best depth D is a
weighted mean. With the unit ray h, Ω = Σ_l ω_l and z_l = h·κ_l + |a| λ_l, eliminating it (variable projection) leaves

    Σ_l ω_l |(1 − hhᵀ)(δY_l − δa)|² + Σ_l ω_l z_l² − (Σ_l ω_l z_l)² / Ω

with Y ≈ a in the derivatives. So few sums over the pixels are all that a step needs, most of them matrix products: Σωa,
Σωaaᵀ and the like per incidence, and Σ ω_l ω_m / Ω (h, |a|)(h, |a|)ᵀ per pair of incidences.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dust3r_sfm.alignment.compiled import compiled
from dust3r_sfm.alignment.placement import Placement

L1_FLOOR = 2e-3
"""Distance below which L1 becomes quadratic, in units of the mean edge."""
ONE, HALF, SMALLEST = np.float32(1), np.float32(0.5), np.float32(L1_FLOOR**2)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Cauchy on distances over depth, of the given width, or DUSt3R's L1 on distances in world units (width None)."""

    width: float | None

    @property
    def sharpness(self) -> float:
        """One over the squared width, which is what the kernels read; 0: L1."""
        return 0.0 if self.width is None else 1 / self.width**2


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

    def squares(self, depths: Float32[np.ndarray, " s"]) -> Float32[np.ndarray, "l s"]:
        """Return the squared distances between predictions and the points at `depths` of the rays."""
        return np.asarray((self.depths - depths) ** 2 * self.squared_rays + self.gaps)


@compiled
@no_type_check
def weigh(square, weight, scale, sharpness):
    """Return ω = w ρ'(n) / n from a squared distance; `scale` is the depth that Cauchy's loss compares it with."""
    if sharpness > 0:
        return weight / (scale * scale + square * sharpness)
    return weight / np.sqrt(max(square, SMALLEST))


@compiled
@no_type_check
def price(square, scale, sharpness):
    """Return ρ, whose derivative `weigh` is: times half a squared width, for Cauchy's loss still to take the log of."""
    if sharpness > 0:
        return ONE + square * sharpness / (scale * scale)
    distance = np.sqrt(max(square, SMALLEST))
    return HALF * (square / distance + distance)


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
def settle(votes, gaps, squared_rays, weights, scales, start, sharpness, rounds):
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
                value = weigh(off * off * squared_rays[p] + gaps[k, p], weights[k, p], scales[p], sharpness)
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


def solve_depths(
    votes: Votes,
    weights: Float32[np.ndarray, "l s"],
    scales: Float32[np.ndarray, " s"],
    depths: Float32[np.ndarray, " s"],
    loss: Loss,
    rounds: int,
) -> tuple[Float32[np.ndarray, " s"], Float32[np.ndarray, "l s"]]:
    """Improve depths by reweighted means of the votes; return them and the weights ω they are the exact mean of."""
    depths, robust = settle(
        votes.depths, votes.gaps, votes.squared_rays, weights, scales, depths, loss.sharpness, rounds
    )
    return depths, robust


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """The sums over one image's pixels (l incidences, m intrinsics).

    Attributes:
        cost: Σ w ρ.
        depths: best depth of each sample (s,).
        pulls: Σ ω r (a, 1)ᵀ of each incidence (l, 3, 4).
        squares: Σ ω |r|² of each incidence (l,).
        features: Σ ω of each incidence over (1, a, the upper half of aaᵀ, and G a less its part along the ray and
            a × G a of each intrinsic) (l, 10 + 6 m).
        intrinsics: Σ Ω of the products of the G a, without their parts along the ray (m, m).
        slips: Σ ω_l ω_m / Ω (h·r_l) over the rows of `gram`; no incidences if not asked for.
        gram: Σ ω_l ω_m / Ω over (h, |a|) of each incidence; incidences that only scale have |a| alone (rows, rows).
    """

    cost: float
    depths: Float32[np.ndarray, " s"]
    pulls: Float64[np.ndarray, "l 3 4"]
    squares: Float64[np.ndarray, " l"]
    features: Float64[np.ndarray, "l f"]
    intrinsics: Float64[np.ndarray, "m m"]
    gram: Float64[np.ndarray, "g g"]
    slips: Float64[np.ndarray, "k g"]


def image_statistics(
    points: Float32[np.ndarray, "k 3 s"],
    rows: Int64[np.ndarray, " l"],
    edges: Int64[np.ndarray, " l"],
    xy: Float64[np.ndarray, "s 2"],
    placement: Placement,
    index: int,
    weights: Float32[np.ndarray, "l s"],
    scales: Float32[np.ndarray, " s"],
    depths: Float32[np.ndarray, " s"],
    loss: Loss,
    rounds: int,
    num_own: int,
    generators: Float64[np.ndarray, "m 3 3"],
    with_slips: bool = False,
) -> Statistics:
    """Sum over the samples of one image, at their best depths.

    Args:
        points: predictions in their edges' frames.
        rows: incidences in them that take part.
        edges: edge of each incidence.
        xy: pixels relative to the assumed principal point.
        placement: cameras and edges.
        index: the image.
        weights: w of each incidence and sample.
        scales: depths by which the loss divides.
        depths: depths to start from.
        loss: the loss.
        rounds: reweightings of the depths.
        num_own: so many incidences, the first ones, are its own pointmaps, which can only scale unless edges are free.
        generators: the matrices G.
        with_slips: sum the slips too.
    """
    rays, squared = camera_rays(xy, placement.focals[index], placement.principal[index])
    transforms = frames_of(edges, num_own, placement, index)
    votes, gaps = cast_votes(rays, squared, transforms, points, rows)
    depths, robust = settle(votes, gaps, squared, weights, scales, depths, loss.sharpness, rounds)
    off, halves, slips, pulls, squares, features, intrinsics = _sums(
        rays,
        squared,
        transforms,
        points,
        rows,
        votes,
        gaps,
        robust,
        scales,
        depths,
        loss.sharpness,
        0 if placement.free else num_own,
        generators,
        with_slips,
    )
    if loss.width is not None:
        np.log(off, out=off)
    return Statistics(
        cost=_dot(weights, off) * (1 if loss.width is None else loss.width**2 / 2),
        depths=depths,
        pulls=pulls,
        squares=squares,
        features=features,
        intrinsics=intrinsics,
        gram=(halves @ halves.T).astype(np.float64),
        slips=(slips @ halves.T).astype(np.float64),
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
    features, flat = np.empty((10 + 6 * num, len(depths)), np.float32), np.empty((num, 3, len(depths)), np.float32)
    turned = np.empty(3, np.float32)
    for p in range(len(depths)):
        depth = depths[p]
        a, b, c = rays[0, p] * depth, rays[1, p] * depth, depth
        features[0, p], features[1, p], features[2, p], features[3, p] = ONE, a, b, c
        features[4, p], features[5, p], features[6, p] = a * a, a * b, a * c
        features[7, p], features[8, p], features[9, p] = b * b, b * c, c * c
        for m in range(num):
            for axis in range(3):
                g = generators[m, axis]
                turned[axis] = g[0] * a + g[1] * b + g[2] * c
            along = (turned[0] * rays[0, p] + turned[1] * rays[1, p] + turned[2]) / squared_rays[p]
            first = 10 + 6 * m
            for axis in range(3):
                flat[m, axis, p] = features[first + axis, p] = turned[axis] - along * rays[axis, p]
            features[first + 3, p] = b * turned[2] - c * turned[1]
            features[first + 4, p] = c * turned[0] - a * turned[2]
            features[first + 5, p] = a * turned[1] - b * turned[0]
    return features, flat


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
    with_slips,
):
    """Sum over the samples (see `Statistics`); return also ρ of each vote and the rows whose products `gram` is."""
    num, size, sharpness = len(votes), len(depths), np.float32(sharpness)
    features, flat = _by_sample(rays, squared_rays, depths, generators)
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

    off = np.empty_like(votes)
    halves = np.empty((num_scaled + 4 * (num - num_scaled), size), np.float32)
    slips = np.empty((num if with_slips else 0, size), np.float32)
    pulls, squares, sums = np.empty((num, 3, 4)), np.empty(num), np.empty((num, len(features)))
    weighted = np.empty((3, size), np.float32)
    for k in range(num):
        t, point, square_sum = transforms[k], points[rows[k]], np.float32(0)
        for p in range(size):
            along = depths[p] - votes[k, p]
            square = along * along * squared_rays[p] + gaps[k, p]
            off[k, p] = price(square, scales[p], sharpness)
            square_sum += robust[k, p] * square
        squares[k] = square_sum
        for axis in range(3):
            for p in range(size):
                x, y, z = point[0, p], point[1, p], point[2, p]
                placed = t[axis, 0] * x + t[axis, 1] * y + t[axis, 2] * z + t[axis, 3]
                weighted[axis, p] = robust[k, p] * (rays[axis, p] * depths[p] - placed)
            for f in range(4):
                value = np.float32(0)
                for p in range(size):
                    value += weighted[axis, p] * features[f, p]
                pulls[k, axis, (f + 3) % 4] = value
        for f in range(len(features)):
            value = np.float32(0)
            for p in range(size):
                value += robust[k, p] * features[f, p]
            sums[k, f] = value
        if k < num_scaled:
            for p in range(size):
                halves[k, p] = robust[k, p] * basis[3, p]
        else:
            first = num_scaled + 4 * (k - num_scaled)
            for f in range(4):
                for p in range(size):
                    halves[first + f, p] = robust[k, p] * basis[f, p]
        if with_slips:
            for p in range(size):
                along = robust[k, p] * (depths[p] - votes[k, p]) * squared_rays[p]
                slips[k, p] = along * basis[2, p]
    return off, halves, slips, pulls, squares, sums, intrinsics
