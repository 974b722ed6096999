"""Lenses, Sampson distances and poses against numeric derivatives and known geometry."""

from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.geometry.transforms import rotation_angle, rotation_exp
from dust3r_sfm.predictors.classical.focal import find_lenses
from dust3r_sfm.predictors.classical.lens import Lens
from dust3r_sfm.predictors.classical.pose import estimate_poses, triangulate_pair
from dust3r_sfm.predictors.classical.sampson import CalibratedMatches, RayPairs, linearize, move, sampson_distances

LENS1 = Lens(size=(512, 384), focal=450.0, radial=0.12)
LENS2 = Lens(size=(384, 512), focal=520.0, radial=-0.05)


def pose(turn: list[float], shift: list[float]) -> np.ndarray:
    translation = np.array(shift)
    return np.column_stack([rotation_exp(np.array(turn)), translation / np.linalg.norm(translation)])


def project(points: np.ndarray, cam_from_world: np.ndarray, lens: Lens) -> np.ndarray:
    moved = points @ cam_from_world[:, :3].T + cam_from_world[:, 3]
    return lens.distort(moved[:, :2] / moved[:, 2:] * lens.focal + np.array(lens.size) / 2)


def cloud(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.uniform([-2, -2, 4], [2, 2, 8], (count, 3))


POSE = pose([0.05, 0.2, -0.1], [1.0, 0.1, 0.2])


def test_distort_inverts_undistort() -> None:
    xy = np.random.default_rng(0).uniform(0, 380, (50, 2))
    for lens in (LENS1, LENS2):
        np.testing.assert_allclose(lens.distort(lens.undistort(xy)), xy, atol=1e-4)


def test_derivatives_match_finite_differences() -> None:
    rng = np.random.default_rng(1)
    points = CalibratedMatches(xy1=rng.uniform(0, 380, (20, 2)), xy2=rng.uniform(0, 380, (20, 2)))
    here = linearize(POSE, RayPairs.of(points, LENS1, LENS2))
    for column in range(5):
        step = np.eye(5)[column] * 1e-6
        ahead, behind = (
            sampson_distances(move(POSE, sign * step), RayPairs.of(points, LENS1, LENS2)) for sign in (1, -1)
        )
        np.testing.assert_allclose((ahead - behind) / 2e-6, here.by_pose[:, column], rtol=1e-5, atol=1e-3)
    by_log_focal, by_radial = LENS1.normalize_derivatives(points.xy1)
    for expected, lenses in (
        (
            (here.by_ray1 * by_log_focal).sum(1) + here.by_focal1,
            [replace(LENS1, focal=LENS1.focal * np.exp(sign * 1e-6)) for sign in (1, -1)],
        ),
        (
            (here.by_ray1 * by_radial).sum(1),
            [replace(LENS1, radial=LENS1.radial + sign * 1e-6) for sign in (1, -1)],
        ),
    ):
        ahead, behind = (sampson_distances(POSE, RayPairs.of(points, lens, LENS2)) for lens in lenses)
        np.testing.assert_allclose((ahead - behind) / 2e-6, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("planar", [False, True])
def test_pose_among_outliers(planar: bool) -> None:
    rng = np.random.default_rng(2)
    world = cloud(rng, 300)
    if planar:
        world[:270, 2] = 6 + 0.3 * world[:270, 0]
    points = CalibratedMatches(
        xy1=project(world, np.eye(3, 4), LENS1) + rng.normal(0, 0.3, (300, 2)),
        xy2=project(world, POSE, LENS2) + rng.normal(0, 0.3, (300, 2)),
    )
    points.xy2[::3] = rng.uniform(0, 380, (100, 2))
    best = estimate_poses(points, LENS1, LENS2, seed=0)[0]
    assert best.usable
    assert best.num_inliers == pytest.approx(200, abs=15)
    assert rotation_angle(best.cam2_from_cam1[:, :3] @ POSE[:, :3].T) < 0.6
    assert np.degrees(np.arccos(best.cam2_from_cam1[:, 3] @ POSE[:, 3])) < 3


def test_triangulation_gives_inverse_depth() -> None:
    world = cloud(np.random.default_rng(3), 100)
    points = CalibratedMatches(xy1=project(world, np.eye(3, 4), LENS1), xy2=project(world, POSE, LENS2))
    inverse1, inverse2, _ = triangulate_pair(POSE, RayPairs.of(points, LENS1, LENS2))
    np.testing.assert_allclose(1 / inverse1, world[:, 2], rtol=1e-3)
    np.testing.assert_allclose(1 / inverse2, (world @ POSE[:, :3].T + POSE[:, 3])[:, 2], rtol=1e-3)


@pytest.mark.parametrize(("groups", "focals"), [((0, 0, 0, 0, 0), (430.0,)), ((0, 0, 0, 1, 1), (430.0, 600.0))])
def test_lenses_are_found_jointly(groups: tuple[int, ...], focals: tuple[float, ...]) -> None:
    rng = np.random.default_rng(4)
    true = [Lens(size=(512, 384), focal=focals[group], radial=0.1) for group in groups]
    centre = np.array([0.0, 0.0, 6.0])
    poses = []
    for angle in np.radians([-30, -14, 0, 12, 27]):
        turn = rotation_exp(np.array([0.3 * np.sin(3 * angle), angle, 0.1 * angle]))
        poses.append(np.column_stack([turn, centre - turn @ centre + rng.normal(0, 0.3, 3)]))
    world = cloud(rng, 250)
    seen = [project(world, cam, lens) + rng.normal(0, 0.3, (250, 2)) for cam, lens in zip(poses, true, strict=True)]
    matches = {(i, j): CalibratedMatches(xy1=seen[i], xy2=seen[j]) for i in range(5) for j in range(i + 1, 5)}
    start = [Lens(size=(512, 384), focal=512.0)] * 5
    found = find_lenses(start, [False] * 5, groups, matches, seed=0, num_workers=1)
    for lens, expected in zip(found, true, strict=True):
        assert lens.focal == pytest.approx(expected.focal, rel=0.03)
        assert lens.radial == pytest.approx(0.1, abs=0.03)


def test_lenses_keep_their_start_without_matches() -> None:
    start = [Lens(size=(512, 384), focal=500.0), Lens(size=(512, 384), focal=500.0)]
    empty = CalibratedMatches(xy1=np.zeros((0, 2)), xy2=np.zeros((0, 2)))
    found = find_lenses(start, [True, True], [0, 1], {(0, 1): empty}, seed=0, num_workers=1)
    assert [lens.focal for lens in found] == pytest.approx([500.0, 500.0])
