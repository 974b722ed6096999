"""Points that several images see are put together by what each knows."""

import numpy as np
import pytest

from dust3r_sfm.geometry.transforms import centres, rotation_angle
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.localization.fuse import Correspondences, fuse
from dust3r_sfm.localization.pose import estimate_pose, refine_pose
from dust3r_sfm.types import KnownCamera


@pytest.fixture
def seen(courtyard):
    """Exact points of the first image's pixels, as all five images see them, and a noisy copy along their rays."""
    reference, rng = courtyard.reference, np.random.default_rng(0)
    points = courtyard.lift(0, rng.uniform((20, 20), np.array(reference.views[0].size) - 20, (400, 2)))
    points = points[np.isfinite(points).all(axis=1)]
    of = np.tile(np.arange(len(points)), 5)
    image = np.repeat(np.arange(5), len(points))
    centre = centres(reference.cam_from_world)[image]
    noisy = centre + (points[of] - centre) * (1 + 0.03 * rng.standard_normal((len(of), 1)))
    return points, of, Correspondences(xy=np.column_stack([of, of]).astype(float), xyz=noisy, image=image)


def test_views_from_several_sides_correct_each_others_depth(courtyard, seen):
    points, of, found = seen
    xy, xyz = fuse(courtyard.reference, found)
    assert np.array_equal(xy[:, 0], np.arange(len(points)))
    before = np.linalg.norm(found.xyz - points[of], axis=1).reshape(5, -1).mean(axis=0)
    after = np.linalg.norm(xyz - points, axis=1)
    assert np.median(after / before) < 0.5
    wrong = found.xyz.copy()
    wrong[found.image == 3] += 0.3 * np.linalg.norm(points.std(axis=0))
    again = fuse(courtyard.reference, Correspondences(xy=found.xy, xyz=wrong, image=found.image))[1]
    mean = np.array([wrong[of == index].mean(axis=0) for index in range(len(points))])
    assert np.median(np.linalg.norm(again - points, axis=1) / np.linalg.norm(mean - points, axis=1)) < 0.5


def test_one_view_keeps_its_points(courtyard, seen):
    _, _, found = seen
    alone = found[found.image == 2]
    assert np.allclose(fuse(courtyard.reference, alone)[1], alone.xyz)
    nothing = fuse(courtyard.reference, found[found.image == 9])
    assert nothing[0].shape == (0, 2) and nothing[1].shape == (0, 3)


def test_poses_of_fused_points_are_better(courtyard, seen):
    points, of, found = seen
    camera = colmap_camera(courtyard.camera)
    at = points @ courtyard.pose[:, :3].T + courtyard.pose[:, 3]
    inside = (at[:, 2] > 0)[of]
    xy = np.asarray(camera.img_from_cam(at))[of]
    visible = inside & (xy > 0).all(axis=1) & (xy < courtyard.camera.size).all(axis=1)
    found = Correspondences(xy=xy, xyz=found.xyz, image=found.image)[visible]
    estimate = estimate_pose(found.xy, found.xyz, camera, "known", 12.0, 0)
    assert estimate is not None
    fused = refine_pose(estimate, *fuse(courtyard.reference, found[estimate.inlier]), "known")
    errors = [
        (np.linalg.norm(centres(pose) - centres(courtyard.pose)), rotation_angle(pose[:, :3] @ courtyard.pose[:, :3].T))
        for pose in (estimate.cam_from_world, fused.cam_from_world)
    ]
    assert errors[1][0] < errors[0][0] and errors[1][1] < errors[0][1]
    assert np.array_equal(fused.inlier, estimate.inlier) and fused.covariance is not None


def test_too_few_points_or_a_focal_length_that_no_lens_has_leave_the_pose(courtyard, seen):
    points, _, _ = seen
    camera = colmap_camera(courtyard.camera)
    at = points @ courtyard.pose[:, :3].T + courtyard.pose[:, 3]
    front = at[:, 2] > 0
    xy = np.asarray(camera.img_from_cam(at[front]))
    estimate = estimate_pose(xy, points[front], camera, "known", 4.0, 0)
    assert estimate is not None
    assert refine_pose(estimate, xy[:4], points[front][:4], "known") is estimate
    width, height = courtyard.camera.size
    far = KnownCamera(model="SIMPLE_PINHOLE", size=(width, height), params=(40.0 * width, width / 2, height / 2))
    strange = type(estimate)(
        cam_from_world=estimate.cam_from_world, camera=colmap_camera(far), inlier=estimate.inlier, covariance=None
    )
    same_place = np.repeat([[width / 2, height / 2]], 10, axis=0)
    assert refine_pose(strange, same_place, np.repeat(points[front][:1], 10, axis=0), "unknown") is strange
