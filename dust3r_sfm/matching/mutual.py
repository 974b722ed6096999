"""Correspondences of a pair: mutual nearest neighbours in 3-D between its two pointmaps (DUSt3R, section 3.3)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from dust3r_sfm.geometry.nearest import mutual_nearest
from dust3r_sfm.options import MatchOptions
from dust3r_sfm.types import Matches, PairPrediction, View

_NO_INFORMATION = 1.01
"""Confidence up to which a pixel says nothing (predictors give 1 there; the rest is half precision)."""

_PLAUSIBLE_PIXELS = 3.0
"""Neighbours farther apart than this many pixel footprints do not correspond…"""

_PLAUSIBLE_PIXELS_NOISY = 10.0
"""…but two noisy pointmaps may be apart by up to three times their median distance, to this limit."""

_SHARED_ANCHOR_SHIFT = 0.25
"""Two anchors that match to within this many pixels stay where they are, which joins their tracks."""

_SPREAD = (0.7548776662466927, 0.5698402909980532)
"""Steps of the two-dimensional golden sequence (R2): any prefix of its order covers the plane evenly."""


def mutual_matches(
    prediction: PairPrediction, view1: View, view2: View, image1: int, image2: int, options: MatchOptions
) -> Matches:
    """Match every `match_stride`-th pixel of each image with the other image.

    A match starts from an anchor: a pixel of a lattice that is the same for all pairs of an image, so that pairs share
    keypoints and tracks grow long. Its nearest neighbour in 3-D is taken among all pixels of the other map, must have
    the anchor as its own nearest neighbour, and is then moved to the closest point of the surface between the pixels.
    Distances that many pixel footprints cannot explain are refused.

    Args:
        prediction: both pointmaps in camera 1's frame.
        view1, view2: the photographs.
        image1, image2: their indices.
        options: lattice, number and confidence of matches.

    Returns:
        Matches in raw original pixels, ordered by the pixel of image 1; possibly none.
    """
    map1 = _Map.of(prediction.points1, prediction.confidence1, options)
    map2 = _Map.of(prediction.points2, prediction.confidence2, options)
    index1, index2 = mutual_nearest(map1.points, map2.points, map1.anchors, map2.anchors)
    plausible = _plausible(map1, map2, index1, index2)
    index1, index2 = index1[plausible], index2[plausible]

    # One side of a match is an anchor and stays; the other moves to sub-pixel.
    from1, from2 = map1.is_anchor[index1], map2.is_anchor[index2]
    shift1 = map1.shift_towards(index1, map2.points[index2])
    shift2 = map2.shift_towards(index2, map1.points[index1])
    stay2 = from2 & (~from1 | (np.abs(shift2).max(axis=1, initial=0.0) <= _SHARED_ANCHOR_SHIFT))
    shift1[from1], shift2[stay2] = 0.0, 0.0

    anchor = np.where(from1[:, None], map1.lattice(index1), map2.lattice(index2))
    kept = np.sort(np.argsort((anchor @ _SPREAD) % 1.0, kind="stable")[: options.max_matches])
    index1, index2, shift1, shift2 = index1[kept], index2[kept], shift1[kept], shift2[kept]
    return Matches(
        image1=image1,
        image2=image2,
        xy1=raw_from_network(map1.pixels(index1) + shift1, view1),
        xy2=raw_from_network(map2.pixels(index2) + shift2, view2),
        confidence=np.sqrt(map1.confidence[index1].astype(np.float64) * map2.confidence[index2]),
    )


def raw_from_network(xy: Float64[np.ndarray, "m 2"], view: View) -> Float64[np.ndarray, "m 2"]:
    """Turn network pixels into raw original pixels; equal pixels give equal floats, whatever else is in the array."""
    image_from_network = np.linalg.inv(view.network_from_image)
    (a, b, c), (d, e, f) = image_from_network[:2]
    x, y = xy[:, 0], xy[:, 1]
    return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)


@dataclass(frozen=True, kw_only=True)
class _Map:
    """One pointmap as a flat table of pixels; points without information are NaN."""

    width: int
    stride: int
    points: Float32[np.ndarray, "p 3"]
    confidence: Float32[np.ndarray, " p"]
    is_anchor: Bool[np.ndarray, " p"]

    @staticmethod
    def of(
        points: Float32[np.ndarray, "h w 3"], confidence: Float32[np.ndarray, "h w"], options: MatchOptions
    ) -> "_Map":
        """Mask a pointmap by its confidence and lay the anchor lattice over it."""
        height, width = confidence.shape
        stride = options.match_stride
        known = np.isfinite(points).all(axis=-1) & np.isfinite(confidence) & (confidence > _NO_INFORMATION)
        if options.confidence_percentile > 0 and known.any():
            known &= confidence >= np.percentile(confidence[known], options.confidence_percentile)
        on_lattice = np.zeros((height, width), dtype=bool)
        on_lattice[stride // 2 :: stride, stride // 2 :: stride] = True
        return _Map(
            width=width,
            stride=stride,
            points=np.where(known[..., None], points, np.float32(np.nan)).reshape(-1, 3),
            confidence=confidence.ravel(),
            is_anchor=(on_lattice & known).ravel(),
        )

    @property
    def anchors(self) -> Int64[np.ndarray, " a"]:
        """Indices of the anchors."""
        return np.flatnonzero(self.is_anchor).astype(np.int64)

    def pixels(self, index: Int64[np.ndarray, " m"]) -> Float64[np.ndarray, "m 2"]:
        """Centres (x, y) of pixels."""
        return np.stack([index % self.width, index // self.width], axis=1) + 0.5

    def lattice(self, index: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, "m 2"]:
        """Column and row of anchors in the lattice."""
        return np.stack([index % self.width, index // self.width], axis=1) // self.stride

    def tangents(self, index: Int64[np.ndarray, " m"]) -> Float64[np.ndarray, "m 3 2"]:
        """How the surface moves per pixel to the right and down, by differences that do not cross an occlusion edge.

        NaN where both neighbours of an axis are unknown.
        """
        height = len(self.points) // self.width
        column, row = index % self.width, index // self.width
        axes = []
        for position, length, step in ((column, self.width, 1), (row, height, self.width)):
            here = self.points[index].astype(np.float64)
            after = self.points[np.where(position + 1 < length, index + step, index)] - here
            before = here - self.points[np.where(position > 0, index - step, index)]
            after[position + 1 >= length], before[position == 0] = np.nan, np.nan
            size_after, size_before = (
                np.nan_to_num(np.linalg.norm(side, axis=1), nan=np.inf) for side in (after, before)
            )
            both = np.maximum(size_after, size_before) < 1.5 * np.minimum(size_after, size_before)
            shorter = np.where((size_after < size_before)[:, None], after, before)
            axes.append(np.where(both[:, None], (after + before) / 2.0, shorter))
        return np.stack(axes, axis=2)

    def footprints(self, index: Int64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
        """Size of pixels on the surface: the shorter of their two sides."""
        footprints: Float64[np.ndarray, " m"] = np.linalg.norm(self.tangents(index), axis=1).min(axis=1)
        return footprints

    def shift_towards(
        self, index: Int64[np.ndarray, " m"], targets: Float32[np.ndarray, "m 3"]
    ) -> Float64[np.ndarray, "m 2"]:
        """Shifts in pixels from pixel centres to the points of the surface closest to targets.

        One Gauss-Newton step on the tangent plane; zero where it leaves the pixel's neighbourhood or is undefined.
        """
        tangents = self.tangents(index)
        normal = np.einsum("mji,mjk->mik", tangents, tangents)
        right = np.einsum("mji,mj->mi", tangents, targets - self.points[index].astype(np.float64))
        determinant = normal[:, 0, 0] * normal[:, 1, 1] - normal[:, 0, 1] ** 2
        solvable = determinant > 1e-4 * normal[:, 0, 0] * normal[:, 1, 1]
        safe = np.where(solvable, determinant, 1.0)
        shift = np.stack(
            [
                (normal[:, 1, 1] * right[:, 0] - normal[:, 0, 1] * right[:, 1]) / safe,
                (normal[:, 0, 0] * right[:, 1] - normal[:, 0, 1] * right[:, 0]) / safe,
            ],
            axis=1,
        )
        inside = solvable & (np.abs(np.nan_to_num(shift, nan=np.inf)).max(axis=1, initial=0.0) <= 1.0)
        return np.where(inside[:, None], shift, 0.0)


def _plausible(
    map1: _Map, map2: _Map, index1: Int64[np.ndarray, " m"], index2: Int64[np.ndarray, " m"]
) -> Bool[np.ndarray, " m"]:
    """Whether the distance between neighbours is one that pixel size and the pair's own noise explain."""
    if len(index1) == 0:
        return np.zeros(0, dtype=bool)
    distance = np.linalg.norm(map1.points[index1].astype(np.float64) - map2.points[index2], axis=1)
    footprint = np.fmax(map1.footprints(index1), map2.footprints(index2))
    in_pixels = np.where(footprint > 0, distance / np.where(footprint > 0, footprint, 1.0), np.inf)
    limit = np.clip(3.0 * np.median(in_pixels), _PLAUSIBLE_PIXELS, _PLAUSIBLE_PIXELS_NOISY)
    plausible: Bool[np.ndarray, " m"] = in_pixels <= limit
    return plausible
