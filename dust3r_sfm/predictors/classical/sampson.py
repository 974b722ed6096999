"""Sampson distance of correspondences to a relative pose, with its derivatives; refinement of a pose by it.

The distance is that of Hartley & Zisserman, "Multiple View Geometry", 2nd edition, section 11.4.3, in network pixels.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from dust3r_sfm.geometry.transforms import rotation_exp
from dust3r_sfm.predictors.classical.lens import Lens

NOISE_NETWORK_PX = 0.5
"""Scale of the robust loss in network pixels; SIFT positions are good to about a third of a pixel. Chosen by hand."""

NUM_POSE = 5
"""Columns of a pose: rotation vector (3), two steps of the translation direction on its sphere."""
_NUM_STEPS = 10
"""Steps of a refinement at most. Chosen by hand."""

Pose = Float64[np.ndarray, "3 4"]
_GENERATORS = np.array(
    [[[0, 0, 0], [0, 0, -1], [0, 1, 0]], [[0, 0, 1], [0, 0, 0], [-1, 0, 0]], [[0, -1, 0], [1, 0, 0], [0, 0, 0]]],
    np.float64,
)


@dataclass(frozen=True, kw_only=True)
class CalibratedMatches:
    """Positions of the same points in two photographs, in network pixels."""

    xy1: Float64[np.ndarray, "m 2"]
    xy2: Float64[np.ndarray, "m 2"]

    def __len__(self) -> int:
        return len(self.xy1)

    def subset(self, index: Shaped[np.ndarray, " k"]) -> "CalibratedMatches":
        """Select by index or by a mask."""
        return CalibratedMatches(xy1=self.xy1[index], xy2=self.xy2[index])

    def joined(self, other: "CalibratedMatches") -> "CalibratedMatches":
        """These matches, then others of the same pair."""
        return CalibratedMatches(xy1=np.concatenate([self.xy1, other.xy1]), xy2=np.concatenate([self.xy2, other.xy2]))


@dataclass(frozen=True, kw_only=True)
class RayPairs:
    """Viewing rays (z = 1) of correspondences, and the focal lengths that turn their angles into pixels."""

    ray1: Float64[np.ndarray, "m 3"]
    ray2: Float64[np.ndarray, "m 3"]
    focal1: float
    focal2: float

    @classmethod
    def of(cls, points: CalibratedMatches, lens1: Lens, lens2: Lens) -> "RayPairs":
        """Send correspondences through their lenses."""
        one = np.ones((len(points), 1))
        return cls(
            ray1=np.concatenate([lens1.normalize(points.xy1), one], axis=1),
            ray2=np.concatenate([lens2.normalize(points.xy2), one], axis=1),
            focal1=lens1.focal,
            focal2=lens2.focal,
        )

    def __len__(self) -> int:
        return len(self.ray1)

    def subset(self, index: Shaped[np.ndarray, " k"]) -> "RayPairs":
        """Select by index or by a mask."""
        return RayPairs(ray1=self.ray1[index], ray2=self.ray2[index], focal1=self.focal1, focal2=self.focal2)


@dataclass(frozen=True, kw_only=True)
class Linearization:
    """Sampson distances and their derivatives.

    Attributes:
        distances: signed, network pixels.
        by_pose: by the five columns of a pose (see `move`).
        by_ray1, by_ray2: by the first two components of the rays.
        by_focal1, by_focal2: by the log focal lengths at fixed rays (they only scale the distance).
    """

    distances: Float64[np.ndarray, " m"]
    by_pose: Float64[np.ndarray, "m 5"]
    by_ray1: Float64[np.ndarray, "m 2"]
    by_ray2: Float64[np.ndarray, "m 2"]
    by_focal1: Float64[np.ndarray, " m"]
    by_focal2: Float64[np.ndarray, " m"]


def sampson_distances(cam2_from_cam1: Pose, rays: RayPairs) -> Float64[np.ndarray, " m"]:
    """Signed Sampson distances in network pixels."""
    essential = _cross_matrix(cam2_from_cam1[:, 3]) @ cam2_from_cam1[:, :3]
    line2, line1 = rays.ray1 @ essential.T, rays.ray2 @ essential
    squared = (line2[:, :2] ** 2).sum(1) / rays.focal2**2 + (line1[:, :2] ** 2).sum(1) / rays.focal1**2
    distances: np.ndarray = (rays.ray2 * line2).sum(1) / np.sqrt(np.maximum(squared, 1e-18))
    return distances


def linearize(cam2_from_cam1: Pose, rays: RayPairs) -> Linearization:
    """Differentiate the Sampson distances at a pose whose translation has length 1."""
    rotation, translation = cam2_from_cam1[:, :3], cam2_from_cam1[:, 3]
    cross = _cross_matrix(translation)
    essential = cross @ rotation
    line2, line1 = rays.ray1 @ essential.T, rays.ray2 @ essential
    product = (rays.ray2 * line2).sum(1)
    line2[:, 2] = line1[:, 2] = 0
    squared1, squared2 = (line1**2).sum(1) / rays.focal1**2, (line2**2).sum(1) / rays.focal2**2
    squared = np.maximum(squared1 + squared2, 1e-18)
    root, ratio = np.sqrt(squared), product / squared
    # The distance is product / root; both are polynomials of the essential matrix' entries and of the rays.
    pull2 = rays.ray2 - (ratio / rays.focal2**2)[:, None] * line2
    pull1 = (ratio / rays.focal1**2)[:, None] * line1
    by_essential = (pull2[:, :, None] * rays.ray1[:, None] - rays.ray2[:, :, None] * pull1[:, None]) / root[
        :, None, None
    ]
    d_essential = np.concatenate([cross @ _GENERATORS @ rotation, _cross_matrix(_tangents(translation)) @ rotation])
    return Linearization(
        distances=product / root,
        by_pose=by_essential.reshape(-1, 9) @ d_essential.reshape(-1, 9).T,
        by_ray1=(pull2 @ essential)[:, :2] / root[:, None],
        by_ray2=((rays.ray1 - pull1) @ essential.T)[:, :2] / root[:, None],
        by_focal1=ratio * squared1 / root,
        by_focal2=ratio * squared2 / root,
    )


def move(cam2_from_cam1: Pose, step: Float64[np.ndarray, " 5"]) -> Pose:
    """Apply a step of the five pose columns of `linearize`; the translation keeps length 1."""
    moved = cam2_from_cam1[:, 3] + step[3:] @ _tangents(cam2_from_cam1[:, 3])
    return np.column_stack([rotation_exp(step[:3]) @ cam2_from_cam1[:, :3], moved / np.linalg.norm(moved)])


def robust_weights(distances: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
    """Weights of iteratively reweighted least squares for the Cauchy loss at `NOISE_NETWORK_PX`."""
    weights: np.ndarray = 1 / (1 + (distances / NOISE_NETWORK_PX) ** 2)
    return weights


def robust_cost(distances: Float64[np.ndarray, " m"]) -> float:
    """Half the Cauchy loss whose weights are `robust_weights`, in squared network pixels."""
    return 0.5 * NOISE_NETWORK_PX**2 * float(np.log1p((distances / NOISE_NETWORK_PX) ** 2).sum())


def refine_pose(cam2_from_cam1: Pose, rays: RayPairs) -> Pose:
    """Minimize the robust Sampson cost over the pose by Levenberg-Marquardt."""
    damping = 1e-3
    here = linearize(cam2_from_cam1, rays)
    cost = robust_cost(here.distances)
    for _ in range(_NUM_STEPS):
        weighted = here.by_pose.T * robust_weights(here.distances)
        normal = weighted @ here.by_pose
        normal[np.diag_indices(NUM_POSE)] *= 1 + damping
        normal[np.diag_indices(NUM_POSE)] += 1e-9
        candidate = move(cam2_from_cam1, -np.linalg.solve(normal, weighted @ here.distances))
        there = linearize(candidate, rays)
        new_cost = robust_cost(there.distances)
        gain = cost - new_cost
        if gain > 0:
            cam2_from_cam1, here, cost = candidate, there, new_cost
            damping = max(damping / 10, 1e-9)
        else:
            damping *= 10
        if abs(gain) < 1e-4 * cost:
            break
    return cam2_from_cam1


def _tangents(direction: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, "2 3"]:
    """Two unit vectors orthogonal to a unit vector and to each other (Duff et al. 2017)."""
    x, y, z = direction.tolist()
    sign = 1.0 if z >= 0 else -1.0
    a = -1 / (sign + z)
    b = x * y * a
    return np.array([[1 + sign * x * x * a, sign * b, -sign * x], [b, sign + y * y * a, -y]])


def _cross_matrix(vector: Float64[np.ndarray, "*b 3"]) -> Float64[np.ndarray, "*b 3 3"]:
    """The matrix whose product with another vector is the cross product."""
    matrix: np.ndarray = (vector @ _GENERATORS.reshape(3, 9)).reshape(*vector.shape, 3)
    return matrix
