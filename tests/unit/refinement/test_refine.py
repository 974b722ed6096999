"""Refinement: cameras come back to the truth, keep what is known, and are left alone where nothing gets better."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.colmap.model import with_points
from dust3r_sfm.geometry import transforms
from dust3r_sfm.options import RefineOptions, TrackOptions
from dust3r_sfm.refinement.points import refined_points
from dust3r_sfm.refinement.refine import refine
from dust3r_sfm.refinement.state import rescaled_depths
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.tracks.cameras import posed_cameras
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.tracks.triangulation import joined
from dust3r_sfm.types import KnownCamera, Scene

PINHOLE = RefineOptions(refine="keypoints", camera_model="SIMPLE_PINHOLE", principal_point="keep")


def disturbed(scene: Scene, degrees: float = 0.3, focal: float = 1.01, depth: float = 0.01) -> Scene:
    """A scene whose cameras and depths are a little wrong."""
    random = np.random.default_rng(1)
    turns = transforms.rotation_exp(np.radians(degrees) * random.normal(size=(len(scene.names), 3)) / np.sqrt(3))
    poses = scene.cam_from_world.copy()
    poses[:, :, :3] = turns @ poses[:, :, :3]
    poses[:, :, 3] += 0.005 * random.normal(size=(len(scene.names), 3))
    matrices = scene.intrinsics.copy()
    matrices[:, (0, 1), (0, 1)] *= focal
    depths = tuple((1 + depth * random.normal()) * values for values in scene.depths)
    return replace(scene, cam_from_world=poses, intrinsics=matrices, depths=tuple(d.astype(np.float32) for d in depths))


def pose_errors(scene: Scene, found: np.ndarray) -> np.ndarray:
    """Relative rotation errors of all pairs in degrees; found are raw camera frames."""
    truth = posed_cameras(scene).cam_from_world
    wanted = truth[:, None, :, :3] @ np.swapaxes(truth[None, :, :, :3], -1, -2)
    seen = found[:, None, :, :3] @ np.swapaxes(found[None, :, :, :3], -1, -2)
    return transforms.rotation_angle(wanted @ np.swapaxes(seen, -1, -2)).ravel()


def poses_of(model) -> np.ndarray:
    return np.array([image.cam_from_world().matrix() for _, image in sorted(model.images.items())])


def test_cameras_come_back(room, make_features: Callable) -> None:
    start = disturbed(room.scene)
    refined = refine(start, (), make_features(room, num_points=3000, noise=0.1), PINHOLE)
    assert refined.applied and "keypoints" in refined.sentence
    before = pose_errors(room.scene, posed_cameras(start).cam_from_world)
    assert pose_errors(room.scene, poses_of(refined.model)).max() < 0.2 * before.max()
    focals = [image.camera.mean_focal_length() for _, image in sorted(refined.model.images.items())]
    assert np.allclose(focals, room.raw_focals, rtol=5e-3)
    # The frame and the scale are the scene's, and its depths fit.
    centres = np.array([image.projection_center() for _, image in sorted(refined.model.images.items())])
    assert np.abs(centres - transforms.centres(room.raw_cam_from_world)).max() < 0.1
    ratios = [np.median(found / true) for found, true in zip(refined.depths.depths, room.scene.depths, strict=True)]
    assert np.ptp(ratios) < 0.002


def test_the_same_twice(room, make_features: Callable) -> None:
    features = make_features(room, num_points=300, noise=0.2)
    first, second = (poses_of(refine(disturbed(room.scene), (), features, PINHOLE).model) for _ in range(2))
    assert np.array_equal(first, second)


def test_what_is_known_stays(room, make_features: Callable) -> None:
    start = disturbed(room.scene, focal=1.0)
    count = len(start.names)
    posed = np.arange(count) < 2
    poses = np.where(posed[:, None, None], room.scene.cam_from_world, start.cam_from_world)
    cameras = tuple(
        KnownCamera(
            model="PINHOLE",
            size=view.size,
            params=(focal, focal, view.size[0] / 2, view.size[1] / 2),
        )
        for view, focal in zip(room.views, room.raw_focals, strict=True)
    )
    views = [
        replace(view, known_camera=camera, known_cam_from_world=pose if is_posed else None)
        for view, camera, pose, is_posed in zip(room.views, cameras, poses, posed, strict=True)
    ]
    scene = replace(start, cam_from_world=poses, views=tuple(views))
    refined = refine(scene, (), make_features(room, noise=0.2), RefineOptions())
    assert refined.applied
    assert np.allclose(poses_of(refined.model)[posed], room.raw_cam_from_world[posed], atol=1e-12)
    for image_id, image in refined.model.images.items():
        assert tuple(image.camera.params) == cameras[image_id - 1].params
    centres = np.array([image.projection_center() for _, image in sorted(refined.model.images.items())])
    assert np.abs(centres - transforms.centres(room.raw_cam_from_world)).max() < 0.01


def test_a_perfect_scene_is_left_alone(room, make_features: Callable) -> None:
    refined = refine(room.scene, (), make_features(room, noise=1.0), PINHOLE)
    assert not refined.applied and "not applied" in refined.sentence
    assert np.allclose(poses_of(refined.model), room.raw_cam_from_world, atol=1e-12)


@pytest.mark.parametrize("mode", ["none", "auto"])
def test_without_matches_nothing_moves(room, mode: str) -> None:
    refined = refine(room.scene, (), (), RefineOptions(refine=mode))
    assert not refined.applied
    assert np.allclose(poses_of(refined.model), room.raw_cam_from_world, atol=1e-12)


def test_pointmaps_fill_what_keypoints_leave(room, room_matches, make_features: Callable) -> None:
    features = make_features(room, num_points=6000, noise=0.2)
    none = np.zeros(len(features[5].xy), bool)
    features[5] = features[5].of(np.flatnonzero(none))
    refined = refine(disturbed(room.scene), room_matches, features, PINHOLE)
    alone = refined_points(refined, (), TrackOptions(), room.colour)
    points = refined_points(refined, room_matches, TrackOptions(seed_points=300), room.colour)
    num_keypoints = len(alone.tracks.xyz)
    assert len(alone.seeds.xyz) == 0
    assert np.array_equal(alone.tracks.xyz, points.tracks.xyz[:num_keypoints])
    filling = points.tracks.track_of >= num_keypoints
    filled = np.bincount(points.tracks.image_of[filling], minlength=6)
    assert filled[5] > 15
    assert num_keypoints > 5 * (len(points.tracks.xyz) - num_keypoints)
    assert len(points.seeds.xyz) == 300
    assert (points.seeds.rgb[:, 0] <= 50).all() and points.seeds.rgb.max() > 0


def test_pointmaps_alone_have_tracks_up_to_the_budget(room, room_matches) -> None:
    kept = refine(room.scene, room_matches, (), RefineOptions(refine="none"))
    points = refined_points(kept, room_matches, TrackOptions(max_points=500, seed_points=0), room.colour)
    assert len(points.tracks.xyz) == 500
    assert len(points.seeds.xyz) == 0


def test_a_place_that_both_found_is_one_observation(room, make_features: Callable) -> None:
    refined = refine(disturbed(room.scene), (), make_features(room, num_points=3000, noise=0.1), PINHOLE)
    one_of_each = [pair.take(np.arange(0, len(pair.xy1), 2)) for pair in refined.matches]
    turned = [replace(pair, xy2=pair.xy2[::-1].copy()) for pair in one_of_each]  # the same keypoints, of other points
    tracks = refined_points(refined, [*one_of_each, *turned], TrackOptions(), room.colour).tracks
    observations = np.column_stack([tracks.image_of, tracks.xy])
    assert len(np.unique(observations, axis=0)) == len(observations) > 0
    assert with_points(refined.model, tracks).num_points3D() == len(tracks.xyz)


def test_a_plain_adjustment_of_the_model_keeps_its_cameras(room, room_matches, make_features: Callable) -> None:
    """Wrong keypoints and pointmaps that err alike in a whole region do not pull at what is exported."""
    random = np.random.default_rng(2)

    def with_wrong_places(features):
        off = (random.random(len(features.xy)) < 0.05)[:, None] * random.normal(size=features.xy.shape)
        return replace(features, xy=features.xy + off)

    def bent(pair):  # as where a depth map is smooth and the scene is not
        bend = 1.5 * np.sin(pair.xy2 / 90.0 + pair.image1)
        return replace(pair, xy2=pair.xy2 + bend)

    features = [with_wrong_places(one) for one in make_features(room, num_points=3000, noise=0.1)]
    found = [bent(pair) for pair in room_matches]
    refined = refine(disturbed(room.scene), found, features, PINHOLE)

    def error_after(tracks) -> float:
        model = with_points(refined.model, tracks)
        pycolmap.bundle_adjustment(model, pycolmap.BundleAdjustmentOptions(print_summary=False))
        return float(np.median(pose_errors(room.scene, poses_of(model))))

    before = float(np.median(pose_errors(room.scene, poses_of(refined.model))))
    points = refined_points(refined, found, TrackOptions(), room.colour)
    assert error_after(points.tracks) < 2.0 * before
    assert error_after(joined([points.tracks, points.seeds])) > 5.0 * before


def test_matches_of_the_pointmaps_alone(room, room_matches) -> None:
    start = disturbed(room.scene)
    refined = refine(start, room_matches, (), replace(PINHOLE, refine="pointmaps"))
    assert refined.applied and "pointmaps" in refined.sentence and not refined.matches
    before = pose_errors(room.scene, posed_cameras(start).cam_from_world)
    assert pose_errors(room.scene, poses_of(refined.model)).max() < 0.3 * before.max()


def test_depths_follow_the_points(room, room_tracks) -> None:
    doubled = replace(room.scene, depths=tuple(2 * depth for depth in room.scene.depths))
    scaled = rescaled_depths(posed_cameras(doubled), AlignedDepths.of(doubled), room_tracks)
    for found, true in zip(scaled.depths, room.scene.depths, strict=True):
        assert np.allclose(found, true, rtol=0.02)
