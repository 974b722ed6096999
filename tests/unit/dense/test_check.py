"""The check predicts what patch-match stereo does with each image."""

from collections.abc import Callable
from typing import Any

import numpy as np

from dust3r_sfm.colmap.model import reconstruction_from_scene
from dust3r_sfm.dense.check import ImageCheck, check_images, check_workspace
from dust3r_sfm.types import Tracks


def by_brute_force(model: Any, reference: Any) -> list[str]:
    """COLMAP's __auto__ rule, point by point."""
    angles: dict[int, list[float]] = {}
    for point in model.points3D.values():
        seen = {element.image_id for element in point.track.elements}
        if reference.image_id not in seen:
            continue
        ray = point.xyz - reference.projection_center()
        for other in seen - {reference.image_id}:
            other_ray = point.xyz - model.images[other].projection_center()
            cosine = ray @ other_ray / np.linalg.norm(ray) / np.linalg.norm(other_ray)
            angles.setdefault(other, []).append(np.degrees(np.arccos(np.clip(abs(cosine), 0, 1))))
    usable = [other for other, values in angles.items() if sorted(values)[round(0.75 * (len(values) - 1))] >= 1.0]
    return sorted(model.images[other].name for other in usable)


def test_sources_and_depth_ranges(room: Any) -> None:
    model = reconstruction_from_scene(room.scene, room.tracks(room.matches(stride=16)))
    checks = check_images(model)
    assert check_workspace(model) == []
    assert [check.name for check in checks] == list(room.scene.names)
    for image_id, check in enumerate(checks, start=1):
        image = model.images[image_id]
        assert sorted(check.sources) == by_brute_force(model, image)
        assert check.num_points == image.num_points3D
        depth = room.scene.depths[image_id - 1]
        assert check.depth_range is not None
        assert depth.min() * 0.99 < check.depth_range[0] < check.depth_range[1] < depth.max() * 1.01


def test_sources_are_ranked_by_shared_points(room: Any, room_tracks: Tracks) -> None:
    checks = check_images(reconstruction_from_scene(room.scene, room_tracks))
    shared = np.zeros((6, 6), int)
    for track in range(len(room_tracks.xyz)):
        seen = room_tracks.image_of[room_tracks.track_of == track]
        shared[np.ix_(seen, seen)] += 1
    for index, check in enumerate(checks):
        counts = [shared[index, room.scene.names.index(name)] for name in check.sources]
        assert counts == sorted(counts, reverse=True)


def test_cameras_that_only_turn_have_no_sources(make_room: Callable[..., Any]) -> None:
    room = make_room([((640, 480), 1)] * 3, step=0.0)
    sentences = check_workspace(reconstruction_from_scene(room.scene, room.tracks()))
    assert len(sentences) == 3
    assert all("no source image at 1 degree or more" in sentence for sentence in sentences)


def test_two_images_need_one_source_each(make_room: Callable[..., Any]) -> None:
    room = make_room([((640, 480), 1)] * 2, step=0.5)
    assert check_workspace(reconstruction_from_scene(room.scene, room.tracks())) == []


def test_images_without_points_are_named(room: Any) -> None:
    tracks = room.tracks([])
    checks: list[ImageCheck] = check_images(reconstruction_from_scene(room.scene, tracks))
    assert all(check.depth_range is None and check.sources == () for check in checks)
    assert (
        checks[0].problem == "'image 0.jpg' observes no 3-D point, so stereo skips it; add photographs that overlap it."
    )


def test_too_few_sources_are_counted(room: Any) -> None:
    pairs = [pair for pair in room.matches(stride=16) if {pair.image1, pair.image2} <= {0, 1, 2} or pair.image1 == 3]
    sentences = check_workspace(reconstruction_from_scene(room.scene, room.tracks(pairs)))
    assert any("'image 0.jpg' has only 2 source images" in sentence for sentence in sentences)
