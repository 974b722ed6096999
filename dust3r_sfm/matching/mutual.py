"""Correspondences of a pair: mutual nearest neighbours in 3-D between its two pointmaps (DUSt3R, section 3.3)."""

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.geometry.nearest import mutual_nearest
from dust3r_sfm.matching.pointmap import Pointmap, plausible
from dust3r_sfm.options import MatchOptions
from dust3r_sfm.types import Matches, PairPrediction, View

_PLAUSIBLE_FOOTPRINTS = (3.0, 10.0)
"""Neighbours farther apart than 3 pixel footprints do not correspond; on two noisy pointmaps, than 10. Chosen by
hand."""

_SHARED_ANCHOR_NETWORK_PX = 0.25
"""Two anchors that match to within this many pixels stay where they are, which joins their tracks. Chosen by hand."""

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
    map1 = Pointmap.of(prediction.points1, prediction.confidence1, options)
    map2 = Pointmap.of(prediction.points2, prediction.confidence2, options)
    index1, index2 = mutual_nearest(map1.points, map2.points, map1.anchors, map2.anchors)
    close = plausible(map1, map2, index1, index2, _PLAUSIBLE_FOOTPRINTS)
    index1, index2 = index1[close], index2[close]

    # One side of a match is an anchor and stays; the other moves to sub-pixel.
    from1, from2 = map1.is_anchor[index1], map2.is_anchor[index2]
    shift1 = map1.shift_towards(index1, map2.points[index2])
    shift2 = map2.shift_towards(index2, map1.points[index1])
    stay2 = from2 & (~from1 | (np.abs(shift2).max(axis=1, initial=0.0) <= _SHARED_ANCHOR_NETWORK_PX))
    shift1[from1], shift2[stay2] = 0.0, 0.0

    anchor = np.where(from1[:, None], map1.lattice(index1), map2.lattice(index2))
    kept = spread_first(anchor, options.max_matches)
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


def spread_first(cells: Int64[np.ndarray, "m 2"], num: int) -> Int64[np.ndarray, " k"]:
    """Choose `num` of the lattice's cells (column, row) that cover the image evenly; their indices, ascending."""
    return np.sort(np.argsort((cells @ _SPREAD) % 1.0, kind="stable")[:num])
