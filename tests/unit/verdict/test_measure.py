"""What is measured of models whose truth is known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.colmap.model import reconstruction_from_scene
from dust3r_sfm.features.features import Features
from dust3r_sfm.geometry import transforms
from dust3r_sfm.options import RefineOptions, TrackOptions
from dust3r_sfm.refinement.refine import refine
from dust3r_sfm.tracks.build import build_tracks
from dust3r_sfm.types import Matches, Scene
from dust3r_sfm.verdict import judge, measure

NOISE_RAW_PX = 0.2


@pytest.fixture(scope="module")
def features(room, make_features: Callable) -> list[Features]:
    return make_features(room, num_points=3000, noise=NOISE_RAW_PX)


@pytest.fixture(scope="module")
def matches(room, features) -> list[Matches]:
    return list(refine(room.scene, (), features, RefineOptions(camera_model="SIMPLE_PINHOLE")).matches)


def model_of(scene: Scene, matches: list[Matches]):
    return reconstruction_from_scene(scene, build_tracks(scene, matches, TrackOptions()))


def with_focals(scene: Scene, factors: np.ndarray) -> Scene:
    matrices = scene.intrinsics.copy()
    matrices[:, (0, 1), (0, 1)] *= factors[:, None]
    return replace(scene, intrinsics=matrices)


def test_the_truth_is_good(room, features, matches) -> None:
    facts = measure(model_of(room.scene, matches), room.scene, features, 0)
    assert facts.num_registered == facts.num_given == 6
    assert facts.num_verified_pairs and facts.num_contradicting_pairs == 0
    assert facts.agreeing is not None and facts.agreeing > 0.98
    assert facts.error_px == pytest.approx(facts.free_error_px, rel=0.3)
    assert facts.kept is not None and facts.kept > 0.5
    assert judge(facts).level == "good"


def test_zooms_that_share_a_focal_length_are_doubtful(room, features, matches) -> None:
    scene = with_focals(room.scene, np.where(np.arange(6) % 2, 1.5, 1.0))
    facts = measure(model_of(scene, matches), scene, features, 0)
    assert facts.agreeing is not None and facts.agreeing < 0.8
    verdict = judge(facts)
    assert verdict.level == "doubtful"
    assert any("--camera-sharing per-image" in reason for reason in verdict.reasons)


def test_a_folded_camera_contradicts_its_pairs(room, features, matches) -> None:
    poses = room.scene.cam_from_world.copy()
    turn = transforms.rotation_exp(np.radians([[0.0, 90.0, 0.0]]))[0]
    poses[2] = np.column_stack([turn @ poses[2, :, :3], turn @ poses[2, :, 3] + [0.5, 0, 0]])
    scene = replace(room.scene, cam_from_world=poses)
    facts = measure(model_of(scene, matches), scene, features, 0)
    assert facts.num_contradicting_pairs + facts.num_alike_pairs > 0
    assert all(scene.names[2] in pair for pair in facts.contradicting)
    assert judge(facts).level != "good"


def test_without_keypoints_the_model_alone_is_measured(room, matches) -> None:
    facts = measure(model_of(room.scene, matches), room.scene, [], 0)
    assert facts.num_verified_pairs is None and facts.agreeing is None
    assert facts.parallax_degrees is not None and facts.parallax_degrees > 1
    assert facts.residual_pattern is not None and facts.residual_pattern < 0.3


def test_the_parallax_is_the_angle_at_the_points(room, features, matches) -> None:
    wide = measure(model_of(room.scene, matches), room.scene, [], 0).parallax_degrees
    model = model_of(room.scene, matches)
    angles = []
    for point in model.points3D.values():
        eyes = [model.images[element.image_id].projection_center() for element in point.track.elements]
        rays = np.array([(point.xyz - eye) / np.linalg.norm(point.xyz - eye) for eye in eyes])
        angles.append(np.degrees(np.arccos(np.clip(rays[1:] @ rays[0], -1, 1))).max())
    # The first view of a point is that of the lowest index on both sides.
    assert wide == pytest.approx(float(np.median(angles)), rel=0.15)
