"""One point for what several images of the map see at one position of the query.

A point of a map's image is known well across its ray (a pixel) and badly along it (depth errs by a few percent). Images
that look from other sides correct each other there, as in triangulation; one image alone keeps its depth.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.localization.reference import Reference

_ERROR_RAW_PX = 1.0
"""Error of a position in an image of the map, pixels. Chosen by hand."""

_ERROR_OF_DEPTH = 0.05
"""Error of a depth, as a share of it. Chosen by hand."""

_AGREE_SIGMAS = 4.0
"""Points farther from the fused one than that many times their error count ever less. Chosen by hand."""

_ROUNDS = 5
"""Rounds of reweighting. Chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Correspondences:
    """Positions in the query and their points, as the images of the map have them.

    Attributes:
        xy: raw pixels of the query.
        xyz: points in the world.
        image: the image of the map that each is from.
    """

    xy: Float64[np.ndarray, "m 2"]
    xyz: Float64[np.ndarray, "m 3"]
    image: Int64[np.ndarray, " m"]

    def __len__(self) -> int:
        return len(self.xy)

    def __getitem__(self, chosen: np.ndarray) -> "Correspondences":
        return Correspondences(xy=self.xy[chosen], xyz=self.xyz[chosen], image=self.image[chosen])


def fuse(
    reference: Reference, correspondences: Correspondences
) -> tuple[Float64[np.ndarray, "k 2"], Float64[np.ndarray, "k 3"]]:
    """Put together the points of equal positions, weighted by their inverse covariances, robustly.

    Args:
        reference: the map, whose images say from where a point is seen.
        correspondences: those that agree on a pose.

    Returns:
        Distinct positions in the query, and a point for each.
    """
    xy, position_of = np.unique(correspondences.xy, axis=0, return_inverse=True)
    information = _information(reference, correspondences)
    weight = np.ones(len(correspondences))
    xyz: Float64[np.ndarray, "k 3"] = np.zeros((len(xy), 3))
    for _ in range(_ROUNDS):
        weighted = information * weight[:, None, None]
        total, moment = np.zeros((len(xy), 3, 3)), np.zeros((len(xy), 3))
        np.add.at(total, position_of.ravel(), weighted)
        np.add.at(moment, position_of.ravel(), np.einsum("mij,mj->mi", weighted, correspondences.xyz))
        xyz = np.asarray(np.linalg.solve(total, moment[..., None])[..., 0], np.float64)
        off = correspondences.xyz - xyz[position_of.ravel()]
        weight = 1.0 / (1.0 + np.einsum("mi,mij,mj->m", off, information, off) / _AGREE_SIGMAS**2)
    return xy, xyz


def _information(reference: Reference, correspondences: Correspondences) -> Float64[np.ndarray, "m 3 3"]:
    """Inverse covariance of each point: an ellipsoid along the ray of its image."""
    poses = reference.cam_from_world[correspondences.image]
    images, row = np.unique(correspondences.image, return_inverse=True)
    focal = np.array([reference.image(int(index)).camera.mean_focal_length() for index in images])[row]
    ray = correspondences.xyz + np.einsum("mji,mj->mi", poses[:, :, :3], poses[:, :, 3])
    distance = np.maximum(np.linalg.norm(ray, axis=1), 1e-12)
    along = ray[:, :, None] * ray[:, None, :] / (distance**2)[:, None, None]
    across = np.eye(3) - along
    error_across, error_along = _ERROR_RAW_PX * distance / focal, _ERROR_OF_DEPTH * distance
    information: Float64[np.ndarray, "m 3 3"] = (
        across / (error_across**2)[:, None, None] + along / (error_along**2)[:, None, None]
    )
    return information
