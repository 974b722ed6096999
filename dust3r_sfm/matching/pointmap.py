"""A pointmap as a flat table of pixels: which may be matched, how large they are, where the surface goes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from dust3r_sfm.options import MatchOptions
from dust3r_sfm.types import is_known


def known_pixels(
    points: Float32[np.ndarray, "h w 3"], confidence: Float32[np.ndarray, "h w"], options: MatchOptions
) -> Bool[np.ndarray, "h w"]:
    """Say which pixels of a pointmap may be matched: those that know something, without the least confident ones."""
    known: Bool[np.ndarray, "h w"] = np.isfinite(points).all(axis=-1) & np.isfinite(confidence) & is_known(confidence)
    if options.confidence_percentile > 0 and known.any():
        known &= confidence >= np.percentile(confidence[known], options.confidence_percentile)
    return known


@dataclass(frozen=True, kw_only=True)
class Pointmap:
    """One pointmap as a flat table of pixels; points without information are NaN."""

    width: int
    stride: int
    points: Float32[np.ndarray, "p 3"]
    confidence: Float32[np.ndarray, " p"]
    is_anchor: Bool[np.ndarray, " p"]

    @staticmethod
    def of(
        points: Float32[np.ndarray, "h w 3"], confidence: Float32[np.ndarray, "h w"], options: MatchOptions
    ) -> "Pointmap":
        """Mask a pointmap by its confidence and lay the anchor lattice over it."""
        height, width = confidence.shape
        stride = options.match_stride
        known = known_pixels(points, confidence, options)
        on_lattice = np.zeros((height, width), dtype=bool)
        on_lattice[stride // 2 :: stride, stride // 2 :: stride] = True
        return Pointmap(
            width=width,
            stride=stride,
            points=np.where(known[..., None], points, np.float32(np.nan)).reshape(-1, 3),
            confidence=confidence.ravel(),
            is_anchor=(on_lattice & known).ravel(),
        )

    @property
    def is_known(self) -> Bool[np.ndarray, " p"]:
        """Which pixels may be matched."""
        known: Bool[np.ndarray, " p"] = ~np.isnan(self.points[:, 0])
        return known

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


def plausible(
    map1: Pointmap,
    map2: Pointmap,
    index1: Int64[np.ndarray, " m"],
    index2: Int64[np.ndarray, " m"],
    limits: tuple[float, float],
) -> Bool[np.ndarray, " m"]:
    """Say which pixels of two maps are no farther apart than pixel size and the pair's own noise explain.

    Args:
        map1, map2: pointmaps in one frame.
        index1, index2: pixels that are thought to correspond.
        limits: in pixel footprints; the limit is three times the median distance, but within these two.
    """
    if len(index1) == 0:
        return np.zeros(0, dtype=bool)
    distance = np.linalg.norm(map1.points[index1].astype(np.float64) - map2.points[index2], axis=1)
    footprint = np.fmax(map1.footprints(index1), map2.footprints(index2))
    in_pixels = np.where(footprint > 0, distance / np.where(footprint > 0, footprint, 1.0), np.inf)
    limit = np.clip(3.0 * np.median(in_pixels), *limits)
    close: Bool[np.ndarray, " m"] = in_pixels <= limit
    return close
