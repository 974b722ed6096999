"""Focal lengths that photographs leave open stay as expected; those that they tell do not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.features.features import Features
from dust3r_sfm.geometry import pinhole
from dust3r_sfm.geometry.transforms import rotation_exp
from dust3r_sfm.images.resize import Grid, network_grid
from dust3r_sfm.options import RefineOptions, TrackOptions
from dust3r_sfm.refinement.focal_lengths import wandered, with_expected_focals
from dust3r_sfm.refinement.points import refined_points
from dust3r_sfm.refinement.refine import Refinement, refine
from dust3r_sfm.refinement.state import RefinementState
from dust3r_sfm.types import Scene, View

SIZE, FOCAL, HEIGHT = (640, 480), 560.0, 80.0


def nadir(
    relief: float, start: float, exif: float | None, noise: float = 0.3, count: int = 2500
) -> tuple[Scene, list[Features]]:
    """Nine photographs of a field from straight above; cameras and depths as an alignment with a focal length has them.

    Args:
        relief: height of what stands on the field.
        start: focal length of the alignment.
        exif: focal length in EXIF.
        noise: of the keypoints in pixels.
        count: points on the field.
    """
    random = np.random.default_rng(5)
    xyz = random.uniform(-90, 90, (count, 3)) * [1, 1, 0] + random.uniform(0, 1, (count, 1)) * [0, 0, -relief]
    looks = random.normal(size=(len(xyz), 128)).astype(np.float32)
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    network_size, network_from_image = network_grid(SIZE, 1, Grid(size=192))
    views, poses, features, depths, matrices = [], [], [], [], []
    for index in range(9):
        rotation = rotation_exp(np.radians(random.normal(0, 0.3, 3)))
        centre = np.array([28.0 * (index % 3 - 1), 28.0 * (index // 3 - 1), -HEIGHT]) + random.normal(0, 0.4, 3)
        inside = (xyz - centre) @ rotation.T
        xy = pinhole.project(inside, pinhole.intrinsics(FOCAL, SIZE)) + random.normal(0, noise, (len(xyz), 2))
        seen = np.all((xy > 0) & (xy < SIZE), axis=1)
        scores = np.ones(seen.sum(), np.float32)
        features.append(Features(xy=xy[seen], descriptors=looks[seen], scores=scores))
        # Another focal length with another height gives the same pictures of a plane.
        centre = centre * [1, 1, start / FOCAL]
        matrix = network_from_image @ pinhole.intrinsics(start, SIZE)
        rays = pinhole.rays(network_size[1], network_size[0], matrix) @ rotation
        depths.append((-centre[2] / rays[..., 2]).astype(np.float32))
        poses.append(np.column_stack([rotation, -rotation @ centre]))
        matrices.append(matrix)
        name = f"{index}.jpg"
        views.append(
            View(
                name=name,
                path=Path(name),
                size=SIZE,
                orientation=1,
                network_size=network_size,
                network_from_image=network_from_image,
                focal_prior=exif,
                camera_group=0,
            )
        )
    scene = Scene(
        image_root=Path(),
        views=tuple(views),
        intrinsics=np.array(matrices),
        cam_from_world=np.array(poses),
        registered=np.ones(9, bool),
        depths=tuple(depths),
        confidences=tuple(np.full(depth.shape, 5.0, np.float32) for depth in depths),
        edges=np.zeros((0, 2), np.int64),
        world_from_edge=np.zeros((0, 4, 4)),
        edge_weights=np.zeros(0),
        edge_residuals=np.zeros(0),
    )
    return scene, features


def focal_of(refined: Refinement) -> float:
    return float(np.mean([camera.mean_focal_length() for camera in refined.model.cameras.values()]))


def test_a_plane_from_above_keeps_the_focal_length_of_exif() -> None:
    scene, features = nadir(relief=0.0, start=1.05 * FOCAL, exif=FOCAL)
    refined = refine(scene, (), features, RefineOptions())
    assert focal_of(refined) == pytest.approx(FOCAL, rel=0.1)


@pytest.mark.parametrize("exif", [FOCAL, None])
def test_a_plane_from_above_has_its_points_whatever_the_focal_length(exif: float | None) -> None:
    scene, features = nadir(relief=0.0, start=1.05 * FOCAL, exif=exif)
    refined = refine(scene, (), features, RefineOptions())
    points = refined_points(refined, (), TrackOptions(), lambda index: np.zeros((*SIZE[::-1], 3), np.uint8))
    assert len(points.tracks.xyz) > 700


def test_relief_tells_the_focal_length_even_against_exif() -> None:
    scene, features = nadir(relief=15.0, start=1.03 * FOCAL, exif=1.6 * FOCAL, noise=0.1, count=4000)
    refined = refine(scene, (), features, RefineOptions())
    assert refined.applied
    assert focal_of(refined) == pytest.approx(FOCAL, rel=0.08)


def test_only_focal_lengths_that_leave_exif_and_alignment_have_wandered(room) -> None:
    start = RefinementState.of(room.scene, trust_depths=True)
    true = room.raw_focals
    views = [replace(view, focal_prior=float(focal)) for view, focal in zip(room.scene.views, true, strict=True)]
    assert not wandered(start, start, views).any()
    away = [replace(view, focal_prior=1.3 * view.focal_prior) for view in views]
    moved = with_expected_focals(start, away, np.arange(len(views)) == 4)
    assert moved.cameras.matrices[4, 0, 0] == pytest.approx(1.3 * true[4])
    assert np.allclose(moved.cameras.matrices[:4], start.cameras.matrices[:4])
    assert start.cameras.matrices[4, 0, 0] == pytest.approx(true[4])
    assert np.flatnonzero(wandered(start, moved, views)).tolist() == [4]
    assert not wandered(start, moved, away).any()  # EXIF alone is no reason
    views[4] = replace(views[4], focal_prior=None)
    assert not wandered(start, moved, views).any()
