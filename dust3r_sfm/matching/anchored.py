"""Matches of a lattice's pixels by descriptors, to sub-pixels: what tracks are made of when a network describes pixels.

The paper lets seeds wander to the nearest mutual pair (`descriptors.reciprocal`), often another pixel in every pair of
images, so that tracks stay short. Here the seeds stay: each image's anchors, the same in all its pairs (and those of
`mutual`), are matched where their neighbour leads back to them within a few pixels.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from dust3r_sfm.matching.descriptors import Described, Nearest, nearest, returning
from dust3r_sfm.matching.mutual import raw_from_network, spread_first
from dust3r_sfm.matching.pointmap import plausible
from dust3r_sfm.options import MatchOptions
from dust3r_sfm.types import Edge, Matches, PairPrediction, View

_TOLERANCE_NETWORK_PX = 3.0
"""A match leads back to its anchor within so many pixels; rounding alone takes it one or two away. Chosen by hand."""

_BORDER_NETWORK_PX = 3
"""What lies outside the other image ends at its border; matches so near to it are dropped. Chosen by hand."""

_PLAUSIBLE_FOOTPRINTS = (10.0, 40.0)
"""Points of a match farther apart than 10 pixel footprints contradict it; on two noisy pointmaps, than 40. Chosen by
hand."""


def anchored_matches(
    forward: PairPrediction,
    backward: PairPrediction | None,
    views: tuple[View, View],
    images: Edge,
    options: MatchOptions,
    search: Nearest = nearest,
) -> Matches:
    """Match every `match_stride`-th pixel of each image by its descriptor.

    Each image's anchors are looked for in the prediction that has the image first, where there are two. Its pointmaps
    have a say: what only one image shows finds its likeness in what only the other shows, and leads back from there.

    Args:
        forward: prediction of the pair (1, 2), with descriptors.
        backward: that of (2, 1), or None.
        views: the photographs.
        images: their indices.
        options: lattice, number and confidence of matches.
        search: how neighbours are found, see `descriptors.nearest_on`.

    Returns:
        Matches in raw original pixels: first those of image 1's anchors, which end between the pixels of image 2, then
        those of image 2's. Their confidence is the geometric mean of the two pixels' descriptor confidences.
    """
    first, second = Described.of(forward, 1, options), Described.of(forward, 2, options)
    from1 = _follow(first, second, search)
    if backward is not None:
        first, second = Described.of(backward, 2, options), Described.of(backward, 1, options)
    from2 = _follow(second, first, search)

    cells = np.concatenate([from1.cells, from2.cells])
    kept = spread_first(cells, options.max_matches)
    xy1 = raw_from_network(np.concatenate([from1.anchors, from2.ends])[kept], views[0])
    xy2 = raw_from_network(np.concatenate([from1.ends, from2.anchors])[kept], views[1])
    confidence = np.concatenate([from1.confidence, from2.confidence])[kept]
    return Matches(image1=images[0], image2=images[1], xy1=xy1, xy2=xy2, confidence=confidence)


@dataclass(frozen=True, kw_only=True)
class _Followed:
    """Anchors of one image (network pixels), where they end in the other, and their cells in the lattice."""

    anchors: Float64[np.ndarray, "m 2"]
    ends: Float64[np.ndarray, "m 2"]
    cells: Int64[np.ndarray, "m 2"]
    confidence: Float64[np.ndarray, " m"]


def _follow(source: Described, target: Described, search: Nearest) -> _Followed:
    """Match the anchors of `source`."""
    map1, map2 = source.points, target.points
    index, end = returning(source.table, target.table, map1.anchors, map1.width, _TOLERANCE_NETWORK_PX, search)
    usable = map2.is_known[end] & inside_border(map2.pixels(end), target.shape)
    usable[usable] = plausible(map1, map2, index[usable], end[usable], _PLAUSIBLE_FOOTPRINTS)
    index, end = index[usable], end[usable]
    return _Followed(
        anchors=map1.pixels(index),
        ends=map2.pixels(end) + peak(source.table[index], target, end),
        cells=map1.lattice(index),
        confidence=np.sqrt(source.confidence[index].astype(np.float64) * target.confidence[end]),
    )


def inside_border(xy: Float64[np.ndarray, "m 2"], shape: tuple[int, int]) -> Bool[np.ndarray, " m"]:
    """Which positions are far enough from the border of a picture of (height, width) to be a match's end."""
    half = np.array(shape[::-1]) / 2
    inside: Bool[np.ndarray, " m"] = np.all(np.abs(xy - half) <= half - _BORDER_NETWORK_PX, axis=1)
    return inside


def peak(
    queries: Float32[np.ndarray, "m d"], target: Described, best: Int64[np.ndarray, " m"]
) -> Float64[np.ndarray, "m 2"]:
    """Shifts from the best pixels to the tops of parabolas through the similarities left and right, above and below.

    At most half a pixel; zero where a neighbour is outside the image or not to be matched.
    """
    height, width = target.shape
    column, row = best % width, best // width

    def similarity(right: int, down: int) -> Float64[np.ndarray, " m"]:
        x, y = column + right, row + down
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        index = np.clip(y, 0, height - 1) * width + np.clip(x, 0, width - 1)
        score = np.einsum("md,md->m", queries, target.table[index]).astype(np.float64)
        return np.where(inside & target.points.is_known[index], score, np.nan)

    here = similarity(0, 0)
    shifts = []
    for right, down in ((1, 0), (0, 1)):
        before, after = similarity(-right, -down), similarity(right, down)
        bend = before - 2.0 * here + after
        slope = (before - after) / 2.0
        is_top = np.isfinite(bend) & (bend < 0) & (np.abs(slope) <= -bend / 2.0)
        shifts.append(np.where(is_top, slope / np.where(is_top, bend, 1.0), 0.0))
    return np.stack(shifts, axis=1)
