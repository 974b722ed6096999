"""Merged matches never see an image twice, and lose as little as possible over it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dust3r_sfm.tracks.merge import MatchGraph, merge_matches


def merge(image_of: list[int], matches: list[tuple[int, int]], weights: list[float] | None = None) -> list[int]:
    graph = MatchGraph(
        image_of=np.array(image_of, dtype=np.int64),
        matches=np.array(matches, dtype=np.int64).reshape(-1, 2),
        weights=np.array(weights or [1.0] * len(matches)),
    )
    return merge_matches(graph).tolist()


def test_matches_join_transitively() -> None:
    assert merge([0, 1, 2, 3], [(0, 1), (1, 2), (2, 3)]) == [0, 0, 0, 0]


def test_unmatched_keypoints_have_no_track() -> None:
    assert merge([0, 1, 2], [(0, 2)]) == [0, -1, 0]


def test_a_conflict_keeps_the_better_supported_keypoint() -> None:
    # Keypoints 1 and 2 are both in image 1 and both match keypoint 0.
    assert merge([0, 1, 1, 2], [(0, 1), (0, 2), (2, 3), (0, 3)]) == [0, -1, 0, 0]


def test_what_a_conflict_leaves_over_makes_its_own_track() -> None:
    # Two tracks of three images, wrongly tied by the match (2, 5).
    tracks = merge([0, 1, 2, 0, 1, 2, 3], [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5), (2, 6), (5, 6)], [1.0] * 8)
    assert tracks[0] == tracks[1] == tracks[2]
    assert tracks[3] == tracks[4] == tracks[5]
    assert tracks[0] != tracks[3]
    assert -1 not in tracks[:6]


def test_no_matches() -> None:
    assert merge([0, 1], []) == [-1, -1]
    assert merge([], []) == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_track_sees_an_image_twice(data: st.DataObject) -> None:
    image_of = data.draw(st.lists(st.integers(0, 4), min_size=2, max_size=25))
    index = st.integers(0, len(image_of) - 1)
    pairs = data.draw(st.lists(st.tuples(index, index), max_size=40))
    matches = [(a, b) for a, b in pairs if image_of[a] != image_of[b]]
    tracks = merge(image_of, matches)
    seen = [(track, image) for track, image in zip(tracks, image_of, strict=True) if track >= 0]
    assert len(seen) == len(set(seen))
    sizes = np.bincount([track for track, _ in seen]) if seen else np.array([2])
    assert sizes.min() >= 2
