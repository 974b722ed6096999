"""Matches joined to tracks that see each image once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dust3r_sfm.tracks.keypoints import match_ends, unique_keypoints
from dust3r_sfm.types import Matches, Tracks

_MAX_ROUNDS = 5
"""Rounds in which keypoints that a track left over make tracks of their own; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class MatchGraph:
    """Keypoints and the matches between them.

    Attributes:
        image_of: image of each keypoint (k,).
        matches: keypoints at both ends of each match (m, 2).
        weights: confidence of each match (m,).
    """

    image_of: Int64[np.ndarray, " k"]
    matches: Int64[np.ndarray, "m 2"]
    weights: Float64[np.ndarray, " m"]


def tracks_of(matches: Sequence[Matches]) -> Tracks:
    """Join matches of many pairs, raw pixels, to tracks, ordered by track; their xyz is unknown (NaN)."""
    image_of, xy, keypoint_of = unique_keypoints(*match_ends(matches))
    graph = MatchGraph(
        image_of=image_of,
        matches=keypoint_of.reshape(2, -1).T,
        weights=np.concatenate([np.zeros(0), *(pair.confidence for pair in matches)]),
    )
    track_of = merge_matches(graph)
    order = np.argsort(track_of, kind="stable")
    order = order[track_of[order] >= 0]
    num_tracks = int(track_of.max(initial=-1)) + 1
    return Tracks(
        xyz=np.full((num_tracks, 3), np.nan),
        rgb=np.zeros((num_tracks, 3), np.uint8),
        track_of=track_of[order],
        image_of=image_of[order],
        xy=xy[order],
    )


def merge_matches(graph: MatchGraph) -> Int64[np.ndarray, " k"]:
    """Give every keypoint its track, -1 for none; no track holds two keypoints of one image.

    A track is a connected component of the matches. Where one sees an image twice, the keypoint with the larger sum of
    match weights stays; those left over make tracks of their own in the next round.
    """
    num_keypoints = len(graph.image_of)
    track_of = np.full(num_keypoints, -1, dtype=np.int64)
    matches, weights = graph.matches, graph.weights
    num_tracks = 0
    for _ in range(_MAX_ROUNDS):
        if len(matches) == 0:
            break
        support = np.bincount(matches.ravel(), weights=np.repeat(weights, 2), minlength=num_keypoints)
        component = _components(matches, num_keypoints)
        chosen = _best_of_each(component, graph.image_of, support)
        among_chosen = chosen[matches].all(axis=1)
        is_member = np.zeros(num_keypoints, dtype=bool)
        is_member[matches[among_chosen]] = True
        members = np.flatnonzero(is_member)
        labels = _components(matches[among_chosen], num_keypoints)[members]
        track_of[members] = num_tracks + np.unique(labels, return_inverse=True)[1]
        num_tracks = int(track_of.max()) + 1
        left = (track_of[matches] < 0).all(axis=1)
        matches, weights = matches[left], weights[left]
    return track_of


def _components(matches: Int64[np.ndarray, "m 2"], num_keypoints: int) -> Int64[np.ndarray, " k"]:
    adjacency = coo_matrix(
        (np.ones(len(matches), dtype=bool), (matches[:, 0], matches[:, 1])), (num_keypoints, num_keypoints)
    )
    components: Int64[np.ndarray, " k"] = connected_components(adjacency, directed=False)[1].astype(np.int64)
    return components


def _best_of_each(
    component: Int64[np.ndarray, " k"], image_of: Int64[np.ndarray, " k"], support: Float64[np.ndarray, " k"]
) -> Bool[np.ndarray, " k"]:
    """Mark the best supported keypoint of each component in each image."""
    order = np.lexsort((-support, image_of, component))
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (component[order][1:] != component[order][:-1]) | (image_of[order][1:] != image_of[order][:-1])
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order[is_first]] = True
    return chosen
