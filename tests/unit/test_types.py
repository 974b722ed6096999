"""The tables of `Matches` and `Tracks`: some of their rows, by mask and by index."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dust3r_sfm.types import NOTHING_KNOWN, Matches, Tracks, is_known


@st.composite
def tracks_and_mask(draw: st.DrawFn) -> tuple[Tracks, np.ndarray]:
    """A table in any order, and some of its rows."""
    num_points = draw(st.integers(0, 6))
    track_of = draw(st.lists(st.integers(0, num_points - 1), max_size=25)) if num_points else []
    kept = draw(st.lists(st.booleans(), min_size=len(track_of), max_size=len(track_of)))
    rows = np.arange(len(track_of))
    return Tracks(
        xyz=np.arange(3.0 * num_points).reshape(-1, 3),
        rgb=np.arange(3 * num_points, dtype=np.uint8).reshape(-1, 3),
        track_of=np.array(track_of, np.int64),
        image_of=rows % 4,
        xy=np.column_stack([rows, 10.0 * rows]).astype(np.float64),
    ), np.array(kept, bool)


@given(tracks_and_mask())
def test_taking_observations_keeps_points_that_two_still_see(given_tracks):
    tracks, mask = given_tracks
    taken = tracks.take(mask)
    seen = [int((mask & (tracks.track_of == point)).sum()) for point in range(len(tracks.xyz))]
    points = [point for point, count in enumerate(seen) if count >= 2]
    np.testing.assert_array_equal(taken.xyz, tracks.xyz[points])
    np.testing.assert_array_equal(taken.rgb, tracks.rgb[points])
    rows = [row for row in np.flatnonzero(mask) if tracks.track_of[row] in points]
    np.testing.assert_array_equal(taken.xy, tracks.xy[rows])
    np.testing.assert_array_equal(taken.image_of, tracks.image_of[rows])
    np.testing.assert_array_equal(np.array(points, int)[taken.track_of], tracks.track_of[rows])
    again = taken.take(np.ones(len(taken.xy), bool))
    np.testing.assert_array_equal(again.track_of, taken.track_of)


@given(st.lists(st.booleans(), max_size=12), st.data())
def test_taking_matches_by_mask_and_by_index(mask, data):
    count = len(mask)
    rows = np.arange(count, dtype=np.float64)
    matches = Matches(
        image1=3, image2=5, xy1=np.column_stack([rows, rows]), xy2=np.column_stack([-rows, rows]), confidence=rows
    )
    taken = matches.take(np.array(mask, bool))
    np.testing.assert_array_equal(taken.confidence, np.flatnonzero(mask))
    np.testing.assert_array_equal(taken.xy1[:, 0], -taken.xy2[:, 0])
    assert (taken.image1, taken.image2) == (3, 5)
    index = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=9)) if count else [], np.int64)
    chosen = matches.take(index)
    np.testing.assert_array_equal(chosen.confidence, index)
    np.testing.assert_array_equal(chosen.xy1[:, 1], chosen.xy2[:, 1])


def test_known_is_what_exceeds_nothing_known():
    confidence = np.float32([NOTHING_KNOWN, np.nextafter(np.float32(1), np.float32(2)), 20])
    np.testing.assert_array_equal(is_known(confidence), [False, True, True])
