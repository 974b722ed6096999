"""Keypoint matches of a scene: true where the alignment guides them, and where it is too coarse to."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.features.features import Features
from dust3r_sfm.geometry import transforms
from dust3r_sfm.refinement import match
from dust3r_sfm.refinement.match import aligned_pairs, has_coarse_alignment, match_keypoints, rematch_keypoints
from dust3r_sfm.refinement.state import RefinementState, depth_errors
from dust3r_sfm.types import Matches, Scene


def matched(scene: Scene, features: Sequence[Features]) -> list[Matches]:
    """Matches with the cameras as they are aligned."""
    pairs = aligned_pairs(scene)
    return match_keypoints(RefinementState.of(scene, not has_coarse_alignment(pairs)), pairs, features)


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
    matches = matched(room.scene, features)
    assert sum(len(pair.xy1) for pair in matches) > 1000
    assert np.percentile(agreeing(room, matches), 99) < 0.01


def test_repeated_structure_is_told_apart_by_place(room, make_features: Callable) -> None:
    # Every look occurs fifteen times: without places, no match would pass the ratio test.
    features = make_features(room, num_looks=60)
    matches = matched(room.scene, features)
    assert sum(len(pair.xy1) for pair in matches) > 300
    assert np.mean(agreeing(room, matches) < 0.01) > 0.97


def test_coarse_pairs_are_matched_anywhere_and_verified(room, make_features: Callable) -> None:
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
    assert has_coarse_alignment(aligned_pairs(scene)) and not has_coarse_alignment(aligned_pairs(room.scene))
    matches = matched(scene, make_features(room))
    assert sum(len(pair.xy1) for pair in matches) > 1000
    assert np.percentile(agreeing(room, matches), 99) < 0.01


def test_coarse_pairs_are_matched_by_their_most_telling_keypoints(
    room, make_features: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(match, "_MAX_ANYWHERE", 100)
    scene = replace(
        room.scene,
        edges=np.array([[0, 1]]),
        world_from_edge=np.eye(4)[None],
        edge_weights=np.ones(1),
        edge_residuals=np.array([0.05]),
        registered=np.arange(len(room.views)) < 2,
    )
    features = [replace(whole, scores=whole.descriptors[:, 0].copy()) for whole in make_features(room)]
    (pair,) = matched(scene, features)
    assert len(pair.xy1) >= 15
    for places, whole in ((pair.xy1, features[0]), (pair.xy2, features[1])):
        scores = [whole.scores[(whole.xy == place).all(axis=1)][0] for place in places]
        assert min(scores) > np.percentile(whole.scores, 25)


def test_what_the_other_picture_cannot_show_does_not_confuse_a_coarse_pair(room, make_features: Callable) -> None:
    scene = replace(
        room.scene,
        edges=np.array([[0, 5]]),
        world_from_edge=np.eye(4)[None],
        edge_weights=np.ones(1),
        edge_residuals=np.array([0.05]),
        registered=np.isin(np.arange(len(room.views)), (0, 5)),
    )
    features = make_features(room)
    (plain,) = matched(scene, features)
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
    (doubled,) = matched(scene, [*features[:5], last])
    assert len(plain.xy1) > 50
    assert np.array_equal(doubled.xy2, plain.xy2)


def test_once_more_with_adjusted_cameras(room, room_tracks, make_features: Callable) -> None:
    blurred = replace(room.scene, depths=tuple(1.1 * depth for depth in room.scene.depths))
    state = replace(RefinementState.of(blurred, True), tracks=room_tracks)
    assert np.median(depth_errors(state.cameras, state.depths, state.tracks)) > 0.09
    matches = rematch_keypoints(state, {}, make_features(room))
    assert sum(len(pair.xy1) for pair in matches) > 1000
    assert np.percentile(agreeing(room, matches), 99) < 0.01
