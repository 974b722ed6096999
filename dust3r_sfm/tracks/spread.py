"""Points spread over the pictures: so that a budget reaches every part of them, and so that no part stays empty."""

import numpy as np
from jaxtyping import Bool, Int64

from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.types import Tracks

_SQUARE_NETWORK_PX = 32
"""Side of the squares that a budget is spread over; chosen by hand."""

_GAP_NETWORK_PX, _ENOUGH_IN_GAP = 64, 3
"""Side of the squares that want points, and how many each: 144 points for a picture of 512 by 384 without keypoints,
about what GLUEMAP's virtual tracks come to (at most 100 an edge); chosen by hand."""


def spread(tracks: Tracks, depths: AlignedDepths, max_points: int) -> Bool[np.ndarray, " t"]:
    """Choose the longest tracks of every square of every image, then the second longest, and so on.

    Args:
        tracks: to choose from.
        depths: say how large a network pixel is.
        max_points: how many to choose at most.
    """
    if len(tracks.xyz) <= max_points:
        return np.ones(len(tracks.xyz), dtype=bool)
    lengths = np.bincount(tracks.track_of, minlength=len(tracks.xyz))
    rank = _ranks(_squares(tracks, depths, _SQUARE_NETWORK_PX), lengths[tracks.track_of])
    best_rank = np.full(len(tracks.xyz), len(rank))
    np.minimum.at(best_rank, tracks.track_of, rank)
    chosen = np.zeros(len(tracks.xyz), dtype=bool)
    chosen[np.lexsort((-lengths, best_rank))[: max(max_points, 0)]] = True
    return chosen


def gap_filling(tracks: Tracks, present: Tracks, depths: AlignedDepths) -> Bool[np.ndarray, " t"]:
    """Choose the longest tracks of every square where an image observes too few others.

    Args:
        tracks: to choose from.
        present: those that the model has already.
        depths: say how large a network pixel is.
    """
    squares = np.concatenate([_squares(part, depths, _GAP_NETWORK_PX) for part in (present, tracks)])
    square_of = np.unique(squares, axis=0, return_inverse=True)[1].ravel()
    seen, square_of = np.split(square_of, [len(present.xy)])
    wanted = _ENOUGH_IN_GAP - np.bincount(seen, minlength=square_of.max(initial=-1) + 1)
    lengths = np.bincount(tracks.track_of, minlength=len(tracks.xyz))
    rank = _ranks(square_of[:, None], lengths[tracks.track_of])
    chosen = np.zeros(len(tracks.xyz), dtype=bool)
    chosen[tracks.track_of[rank < wanted[square_of]]] = True
    return chosen


def _squares(tracks: Tracks, depths: AlignedDepths, side_network_px: int) -> Int64[np.ndarray, "o 3"]:
    """Image, column and row of the square that each observation lies in."""
    side = side_network_px * depths.raw_per_network[tracks.image_of]
    return np.column_stack([tracks.image_of, (tracks.xy // side[:, None]).astype(np.int64)])


def _ranks(square: Int64[np.ndarray, "o k"], length: Int64[np.ndarray, " o"]) -> Int64[np.ndarray, " o"]:
    """Place of each observation in its square, longest tracks first."""
    square_of = np.unique(square, axis=0, return_inverse=True)[1].ravel()
    order = np.lexsort((-length, square_of))
    start = np.searchsorted(square_of[order], np.arange(square_of.max(initial=-1) + 1))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - start[square_of[order]]
    return rank
