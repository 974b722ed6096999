"""Guided matching: the truth inside the window, and no confusion by what looks the same elsewhere."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.features.features import Features
from dust3r_sfm.features.guided import ProjectedKeypoints, SearchWindow, guided_matches
from dust3r_sfm.features.overlap import overlapping_pairs
from dust3r_sfm.geometry import transforms
from dust3r_sfm.refinement import match as keypoint_matches
from dust3r_sfm.refinement.estimate import Estimate
from dust3r_sfm.refinement.match import is_rough, match_keypoints, rematch_keypoints


def agreeing(room, matches) -> np.ndarray:
    """Distance in pixels of each match's second end from where the truth puts the first."""
    errors = []
    for pair in matches:
        i, j = pair.image1, pair.image2
        size, other = room.views[i].size, room.views[j].size
        rays = np.column_stack([(pair.xy1 - np.array(size) / 2) / room.raw_focals[i], np.ones(len(pair.xy1))])
        centre = transforms.centres(room.raw_cam_from_world[i])
        direction = rays @ room.raw_cam_from_world[i, :, :3]
        reach = (np.sign(direction) * np.array([3.0, 2.0, 4.0]) - centre) / direction
        xyz = centre + direction * reach.min(axis=1, keepdims=True)
        seen = transforms.apply(room.raw_cam_from_world[j], xyz)
        errors.append(
            np.linalg.norm(seen[:, :2] / seen[:, 2:] * room.raw_focals[j] + np.array(other) / 2 - pair.xy2, axis=1)
        )
    return np.concatenate(errors)


def test_matches_are_true(room, make_features: Callable) -> None:
    features = make_features(room)
    matches = match_keypoints(Estimate.of(room.scene, True), features)
    assert sum(len(pair.xy1) for pair in matches) > 1000
    assert np.percentile(agreeing(room, matches), 99) < 0.01


def test_repeated_structure_is_told_apart_by_place(room, make_features: Callable) -> None:
    # Every look occurs fifteen times: without places, no match would pass the ratio test.
    features = make_features(room, num_looks=60)
    matches = match_keypoints(Estimate.of(room.scene, True), features)
    assert sum(len(pair.xy1) for pair in matches) > 300
    assert np.mean(agreeing(room, matches) < 0.01) > 0.97


def test_outside_the_gate_nothing_matches() -> None:
    look = np.eye(4, dtype=np.float32)
    xy = np.array([[0.0, 0.0], [0.2, 0.0], [0.0, 0.2], [-0.2, 0.1]])
    sight = ProjectedKeypoints(xy=xy, depth=np.full(4, 2.0), descriptors=look)
    shifted = ProjectedKeypoints(xy=xy + np.array([0.0, 0.1]), depth=np.full(4, 2.0), descriptors=look)
    sideways = np.eye(3, 4)
    window = SearchWindow(across=0.01, depth=0.1)
    assert len(guided_matches(sight, shifted, sideways, window)[0]) == 0
    assert len(guided_matches(sight, sight, sideways, window)[0]) == 4
    # A baseline along x lets the depth move places along x only.
    sideways[0, 3] = 0.1
    places = ProjectedKeypoints(xy=xy + np.array([0.1 / 2.1, 0.0]), depth=np.full(4, 2.0), descriptors=look)
    assert len(guided_matches(sight, places, sideways, window)[0]) == 4


def test_same_as_trying_every_pair() -> None:
    rng = np.random.default_rng(0)
    descriptors = rng.normal(size=(400, 16))
    descriptors = (descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)).astype(np.float32)
    seen = descriptors + 0.1 * rng.normal(size=descriptors.shape)
    seen = (seen / np.linalg.norm(seen, axis=1, keepdims=True)).astype(np.float32)
    xy, depth, window = rng.uniform(-0.7, 0.5, (400, 2)), rng.uniform(1, 4, 400), SearchWindow(across=0.05, depth=0.3)
    pose = np.column_stack([np.eye(3), [0.4, -0.3, 0.1]])
    rays = np.column_stack([xy, np.ones(400)]) * depth[:, None]
    near, middle, far = (
        place[:, :2] / place[:, 2:] for place in (transforms.apply(pose, rays * s) for s in (0.7, 1, 1.3))
    )
    places = middle + rng.normal(scale=0.02, size=middle.shape)
    along = (far - near) / np.linalg.norm(far - near, axis=1, keepdims=True)
    offset = places[None] - near[:, None]
    forward = np.einsum("ijk,ik->ij", offset, along)
    sideways = np.abs(offset[..., 1] * along[:, None, 0] - offset[..., 0] * along[:, None, 1])
    inside = (sideways <= window.across) & (forward >= -window.across)
    inside &= forward <= np.linalg.norm(far - near, axis=1)[:, None] + window.across
    similarity = np.where(inside, descriptors @ seen.T, -1.0)
    angle = np.arccos(np.clip(similarity, -1, 1))
    best = angle.argmin(axis=1)
    rows, columns = np.sort(angle, axis=1), np.sort(angle, axis=0)
    expected = [
        (i, j)
        for i, j in enumerate(best.tolist())
        if similarity[i, j] >= 0.765
        and angle[:, j].argmin() == i
        and rows[i, 0] <= 0.8 * rows[i, 1]
        and columns[0, j] <= 0.8 * columns[1, j]
    ]
    found, values = guided_matches(
        ProjectedKeypoints(xy=xy, depth=depth, descriptors=descriptors),
        ProjectedKeypoints(xy=places, depth=depth, descriptors=seen),
        pose,
        window,
    )
    assert 0.01 < inside.mean() < 0.2 and len(expected) > 100
    assert found.tolist() == [list(pair) for pair in expected]
    assert np.allclose(values, similarity[tuple(found.T)], atol=1e-6)


def test_pixels_without_a_ray_do_not_match() -> None:
    look = np.eye(4, dtype=np.float32)
    xy = np.array([[0.0, 0.0], [0.2, 0.0], [0.0, 0.2], [np.nan, np.nan]])
    sight = ProjectedKeypoints(xy=xy, depth=np.full(4, 2.0), descriptors=look)
    nowhere = ProjectedKeypoints(xy=xy[[3, 3, 3, 3]], depth=np.full(4, 2.0), descriptors=look)
    window = SearchWindow(across=0.01, depth=0.1)
    assert guided_matches(sight, sight, np.eye(3, 4), window)[0].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert len(guided_matches(sight, nowhere, np.eye(3, 4), window)[0]) == 0


def test_nothing_to_match() -> None:
    empty = ProjectedKeypoints(xy=np.zeros((0, 2)), depth=np.zeros(0), descriptors=np.zeros((0, 4), np.float32))
    one = ProjectedKeypoints(xy=np.zeros((1, 2)), depth=np.zeros(1), descriptors=np.ones((1, 4), np.float32) / 2)
    for first, second in ((empty, one), (one, empty), (one, one)):
        found, similarity = guided_matches(first, second, np.eye(3, 4), SearchWindow(across=0.1, depth=0.1))
        assert found.shape == (0, 2) and len(similarity) == 0


def test_images_back_to_back_do_not_overlap(room) -> None:

    pairs = overlapping_pairs(room.scene, 20)
    assert (0, 1) in pairs and all(i < j for i, j in pairs)
    turned = room.scene.cam_from_world.copy()
    turned[0] = np.diag([-1.0, 1.0, -1.0]) @ turned[0]
    assert all(0 not in pair for pair in overlapping_pairs(replace(room.scene, cam_from_world=turned), 20))
    assert max(np.bincount(np.ravel(overlapping_pairs(room.scene, 1)))) <= 6


def test_rough_pairs_are_matched_anywhere_and_verified(room, make_features: Callable) -> None:
    count = len(room.views)
    edges = np.array([(i, j) for i in range(count) for j in range(i + 1, count)])
    scene = replace(
        room.scene,
        edges=edges,
        world_from_edge=np.tile(np.eye(4), (len(edges), 1, 1)),
        edge_weights=np.ones(len(edges)),
        edge_residuals=np.full(len(edges), 0.05),
        cam_from_world=np.tile(room.scene.cam_from_world[:1], (count, 1, 1)),  # says nothing about where to look
    )
    assert is_rough(scene) and not is_rough(room.scene)
    matches = match_keypoints(Estimate.of(scene, False), make_features(room))
    assert sum(len(pair.xy1) for pair in matches) > 1000
    assert np.percentile(agreeing(room, matches), 99) < 0.01


def test_rough_pairs_are_matched_by_their_most_telling_keypoints(
    room, make_features: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keypoint_matches, "_MAX_ANYWHERE", 100)
    scene = replace(
        room.scene,
        edges=np.array([[0, 1]]),
        world_from_edge=np.eye(4)[None],
        edge_weights=np.ones(1),
        edge_residuals=np.array([0.05]),
        registered=np.arange(len(room.views)) < 2,
    )
    features = [replace(whole, scores=whole.descriptors[:, 0].copy()) for whole in make_features(room)]
    (pair,) = match_keypoints(Estimate.of(scene, False), features)
    assert len(pair.xy1) >= 15
    for places, whole in ((pair.xy1, features[0]), (pair.xy2, features[1])):
        matched = [whole.scores[(whole.xy == place).all(axis=1)][0] for place in places]
        assert min(matched) > np.percentile(whole.scores, 25)


def test_what_the_other_picture_cannot_show_does_not_confuse_a_rough_pair(room, make_features: Callable) -> None:
    scene = replace(
        room.scene,
        edges=np.array([[0, 5]]),
        world_from_edge=np.eye(4)[None],
        edge_weights=np.ones(1),
        edge_residuals=np.array([0.05]),
        registered=np.isin(np.arange(len(room.views)), (0, 5)),
    )
    features = make_features(room)
    (plain,) = match_keypoints(Estimate.of(scene, False), features)
    # Every keypoint of the first picture gets a double in the last, on a wall that the first does not see.
    doubles = np.random.default_rng(0).uniform(0, 1, (20_000, 2)) * room.views[5].size
    rays = np.column_stack([(doubles - np.array(room.views[5].size) / 2) / room.raw_focals[5], np.ones(len(doubles))])
    pose = room.raw_cam_from_world[5]
    direction, centre = rays @ pose[:, :3], transforms.centres(pose)
    reach = ((np.sign(direction) * np.array([3.0, 2.0, 4.0]) - centre) / direction).min(axis=1, keepdims=True)
    seen = transforms.apply(room.raw_cam_from_world[0], centre + direction * reach)
    share = seen[:, :2] / seen[:, 2:] * room.raw_focals[0] / room.views[0].size
    doubles = doubles[(np.abs(share) > 0.7).any(axis=1)][: len(features[0].xy)]
    assert len(doubles) == len(features[0].xy)
    last = Features(
        xy=np.concatenate([features[5].xy, doubles]),
        descriptors=np.concatenate([features[5].descriptors, features[0].descriptors]),
        scores=np.ones(len(features[5].xy) + len(doubles), np.float32),
    )
    (doubled,) = match_keypoints(Estimate.of(scene, False), [*features[:5], last])
    assert len(plain.xy1) > 50
    assert np.array_equal(doubled.xy2, plain.xy2)


def test_once_more_with_adjusted_cameras(room, room_tracks, make_features: Callable) -> None:
    blurred = replace(room.scene, depths=tuple(1.1 * depth for depth in room.scene.depths))
    estimate = replace(Estimate.of(blurred, True), tracks=room_tracks)
    assert np.median(estimate.depth_errors()) > 0.09
    matches = rematch_keypoints(estimate, make_features(room))
    assert sum(len(pair.xy1) for pair in matches) > 1000
    assert np.percentile(agreeing(room, matches), 99) < 0.01
