"""Which of a pair's hypotheses stands first."""

import numpy as np
from scipy.spatial.transform import Rotation

from dust3r_sfm.geometry.transforms import rotation_angle
from dust3r_sfm.predictors.classical.lens import Lens
from dust3r_sfm.predictors.classical.pose import estimate_poses
from dust3r_sfm.predictors.classical.sampson import CalibratedMatches

LENS = Lens(size=(512, 384), focal=450.0, is_known=True)
NOISE_NETWORK_PX = 0.8


def wall(degrees: float, rng: np.random.Generator) -> tuple[CalibratedMatches, np.ndarray]:
    """Matches of a wall to the right of what two cameras look at, and the rotation between them."""
    points = np.column_stack([rng.uniform((0.2, -1), (2.2, 1), (120, 2)), 0.01 * rng.standard_normal(120)])
    poses = []
    for turn in (-degrees / 2, degrees / 2):
        rotation = Rotation.from_euler("y", turn, degrees=True).as_matrix()
        poses.append(np.column_stack([rotation, [0, 0, 5]]))
    xy = []
    for pose in poses:
        seen = points @ pose[:, :3].T + pose[:, 3]
        noise = NOISE_NETWORK_PX * rng.standard_normal((len(points), 2))
        xy.append(seen[:, :2] / seen[:, 2:] * LENS.focal + LENS.centre + noise)
    turned = poses[1][:, :3] @ poses[0][:, :3].T
    return CalibratedMatches(xy1=xy[0], xy2=xy[1]), turned


def test_of_the_two_poses_of_a_wall_the_one_that_faces_it_stands_first() -> None:
    rng = np.random.default_rng(0)
    first_is_right = best_score_is_right = 0
    for _ in range(30):
        matches, truth = wall(40.0, rng)
        found = estimate_poses(matches, LENS, LENS, seed=0)
        best = max(found, key=lambda each: each.score)
        first_is_right += rotation_angle(found[0].cam2_from_cam1[:, :3] @ truth.T) < 15
        best_score_is_right += rotation_angle(best.cam2_from_cam1[:, :3] @ truth.T) < 15
    assert first_is_right == 30
    assert best_score_is_right < 30
