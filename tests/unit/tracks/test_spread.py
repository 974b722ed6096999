"""A budget reaches every part of the pictures, and gaps are filled without more than they want."""

from typing import Any

import numpy as np

from dust3r_sfm.colmap.model import NO_TRACKS
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.tracks.spread import gap_filling, spread
from dust3r_sfm.types import Tracks


def squares(tracks: Tracks, depths: AlignedDepths, side: float = 64.0) -> list[tuple[int, int, int]]:
    """Image, column and row of each observation's square."""
    places = tracks.xy // (side * depths.raw_per_network[tracks.image_of])[:, None]
    return list(map(tuple, np.column_stack([tracks.image_of, places]).astype(int).tolist()))


def test_a_budget_reaches_every_image(room: Any, room_tracks: Tracks) -> None:
    depths = AlignedDepths.of(room.scene)
    chosen = spread(room_tracks, depths, 200)
    assert chosen.sum() == 200
    some = room_tracks.take(chosen[room_tracks.track_of])
    assert set(squares(some, depths)) == set(squares(room_tracks, depths))
    assert not spread(room_tracks, depths, 0).any()
    assert spread(NO_TRACKS, depths, 5).shape == (0,)


def test_only_gaps_are_filled(room: Any, room_tracks: Tracks) -> None:
    depths = AlignedDepths.of(room.scene)
    in_first_three = (room_tracks.image_of < 3) & (room_tracks.track_of % 2 == 0)
    present = room_tracks.take(in_first_three)
    others = room_tracks.take(room_tracks.track_of % 2 == 1)
    chosen = gap_filling(others, present, depths)
    assert 0 < chosen.sum() < 0.7 * len(others.xyz)
    after = squares(present, depths) + squares(others.take(chosen[others.track_of]), depths)
    possible, held = squares(others, depths), squares(present, depths)
    for square in set(possible):
        wanted = min(3, held.count(square) + possible.count(square))
        assert after.count(square) >= wanted
    # A point is taken for one square at least that wanted it, at most three a square.
    assert chosen.sum() <= sum(max(0, 3 - held.count(square)) for square in set(possible))


def test_where_enough_is_seen_nothing_is_added(room: Any, room_tracks: Tracks) -> None:
    depths = AlignedDepths.of(room.scene)
    copy = room_tracks.take(room_tracks.track_of % 2 == 0)
    held = squares(room_tracks, depths)
    full = np.array([held.count(square) >= 3 for square in squares(copy, depths)])
    assert not gap_filling(copy.take(full), room_tracks, depths).any()
    everything = gap_filling(room_tracks, NO_TRACKS, depths)
    assert 20 < everything.sum() < len(room_tracks.xyz)
    assert gap_filling(NO_TRACKS, room_tracks, depths).shape == (0,)
