"""The kernel of the alignment: normal equations of one image's residuals, with its depths eliminated.

For pixel p of image v and incidence l (a pointmap of v in edge e), with h the unit ray:

    a = R_v q D,   b = exp(s_e) R_e X,   r = a − b − (t_e − t_v),   cost Σ w ρ(|r|)

(DUSt3R, Wang et al. 2024, equation 5, with the pixel's point written as depth along its ray). Given the robust weights
ω the best depth D is a weighted mean; eliminating it leaves (variable projection)

    H = Σ ω JᵀJ − Σ_p z zᵀ / Ω,   z = Σ_l ω Jᵀh,   Ω = Σ_l ω,   g = Σ ω Jᵀr.

Every column of J is linear in u = (a, ∂a/∂log f, b, 1), so ΣωJᵀJ follows from the moments Σ ω u uᵀ, a 10×10 matrix per
incidence, which is what makes a step cheap.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

CAMERA_TURN, CAMERA_MOVE, CAMERA_FOCAL = slice(0, 3), slice(3, 6), 6
EDGE_TURN, EDGE_MOVE, EDGE_SCALE = slice(7, 10), slice(10, 13), 13
NUM_COLUMNS = 14
L1_FLOOR = 2e-3
"""Distance below which L1 becomes quadratic, in units of the mean edge."""


def _jacobian_basis() -> Float64[np.ndarray, "3 14 10"]:
    """Write the Jacobian as J[c, column] = Σ_m basis[c, column, m] u[m].

    Turns are left perturbations R <- exp(ω) R about the pose's own centre: δ(Rx) = ω × Rx.
    """
    cross = np.zeros((3, 3, 3))
    for c, k, m in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        cross[c, k, m], cross[c, m, k] = 1.0, -1.0
    basis = np.zeros((3, NUM_COLUMNS, 10))
    basis[:, CAMERA_TURN, 0:3] = cross
    basis[:, CAMERA_MOVE, 9] = np.eye(3)
    basis[:, CAMERA_FOCAL, 3:6] = np.eye(3)
    basis[:, EDGE_TURN, 6:9] = -cross
    basis[:, EDGE_MOVE, 9] = -np.eye(3)
    basis[:, EDGE_SCALE, 6:9] = -np.eye(3)
    return basis


_BASIS = _jacobian_basis()


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Cauchy on distances over depth, of the given width, or DUSt3R's L1 on distances in world units (width None)."""

    width: float | None

    def weigh(self, squares: np.ndarray, weights: np.ndarray, scales: np.ndarray) -> np.ndarray:
        """Return ω = w ρ'(n) / n from squared distances (l, s); `scales` are the depths they are compared with (s,)."""
        if self.width is None:
            return np.asarray(weights / np.sqrt(np.maximum(squares, L1_FLOOR**2)))
        return np.asarray(weights / (scales**2 + squares / self.width**2))

    def cost(self, squares: np.ndarray, weights: np.ndarray, scales: np.ndarray) -> float:
        """Return Σ w ρ, with `weigh` as its derivative."""
        if self.width is None:
            distance = np.sqrt(np.maximum(squares, L1_FLOOR**2))
            return float((weights * (squares / distance + distance)).sum() / 2)
        return float((weights * np.log1p(squares / (self.width * scales) ** 2)).sum() * self.width**2 / 2)


@dataclass(frozen=True, kw_only=True)
class ImageTerms:
    """One image's part of the normal equations.

    Attributes:
        cost: Σ w ρ.
        depths: best depth of each sample (s,).
        hessians: ΣωJᵀJ of each incidence over its 14 columns (l, 14, 14).
        gradients: ΣωJᵀr (l, 14).
        focal: z / √Ω of the camera's focal length (s,); that of its turn is 0.
        edges: z / √Ω of each edge's turn, move and scale (l, 7, s); that of the camera's move is minus the edges' sum.
    """

    cost: float
    depths: Float64[np.ndarray, " s"]
    hessians: Float64[np.ndarray, "l 14 14"]
    gradients: Float64[np.ndarray, "l 14"]
    focal: Float64[np.ndarray, " s"]
    edges: Float64[np.ndarray, "l 7 s"]


@dataclass(frozen=True, kw_only=True)
class Votes:
    """Where the incidences of an image put its pixels, along their rays.

    Attributes:
        depths: depth of the point of the ray nearest to each prediction (l, s).
        gaps: squared distance of the prediction from the ray (l, s).
        squared_rays: squared length of the rays that have depth 1 (s,).
    """

    depths: Float[np.ndarray, "l s"]
    gaps: Float[np.ndarray, "l s"]
    squared_rays: Float[np.ndarray, " s"]

    def squares(self, depths: Float[np.ndarray, " s"]) -> Float[np.ndarray, "l s"]:
        """Return the squared distances between predictions and the points at `depths` of the rays."""
        return np.asarray((self.depths - depths) ** 2 * self.squared_rays + self.gaps)


def vote(rays: Float[np.ndarray, "3 s"], points: Float[np.ndarray, "l 3 s"], shifts: Float[np.ndarray, "l 3"]) -> Votes:
    """Express predicted points along the rays of their pixels.

    Args:
        rays: viewing rays in the world with depth 1.
        points: predictions exp(s_e) R_e X.
        shifts: t_e − t_v.
    """
    squared_rays = (rays**2).sum(0)
    along = np.einsum("cs,lcs->ls", rays, points) + shifts @ rays
    lengths = np.einsum("lcs,lcs->ls", points, points) + 2 * np.einsum("lc,lcs->ls", shifts, points)
    depths = along / squared_rays
    gaps = np.maximum(lengths + (shifts**2).sum(1)[:, None] - depths * along, 0)
    return Votes(depths=depths, gaps=gaps, squared_rays=squared_rays)


def solve_depths(
    votes: Votes,
    weights: Float[np.ndarray, "l s"],
    scales: Float[np.ndarray, " s"],
    depths: Float[np.ndarray, " s"],
    loss: Loss,
    rounds: int,
) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, "l s"]]:
    """Improve depths by reweighted means of the votes; return them and the weights ω they are the exact mean of."""
    robust = weights
    for _ in range(rounds):
        robust = loss.weigh(votes.squares(depths), weights, scales)
        total = robust.sum(0)
        mean = (robust * votes.depths).sum(0) / np.where(total > 0, total, 1)
        depths = np.where(total > 0, mean, depths)
    return depths, robust


def image_terms(
    camera_rays: Float64[np.ndarray, "3 s"],
    rotation: Float64[np.ndarray, "3 3"],
    points: Float64[np.ndarray, "l 3 s"],
    shifts: Float64[np.ndarray, "l 3"],
    weights: Float64[np.ndarray, "l s"],
    scales: Float64[np.ndarray, " s"],
    depths: Float64[np.ndarray, " s"],
    loss: Loss,
    rounds: int,
) -> ImageTerms:
    """Accumulate one image's normal equations at its best depths.

    Args:
        camera_rays: rays in the camera's frame, depth 1.
        rotation: world from camera.
        points: predictions exp(s_e) R_e X.
        shifts: t_e − t_v.
        weights: w of each incidence and sample.
        scales: depths by which the loss divides.
        depths: depths to start from.
        loss: the loss.
        rounds: reweightings of the depths.
    """
    rays = rotation @ camera_rays
    votes = vote(rays, points, shifts)
    depths, robust = solve_depths(votes, weights, scales, depths, loss, rounds)
    seen = rays * depths
    by_focal = rotation @ (camera_rays * np.array([[-1.0], [-1.0], [0.0]])) * depths
    camera_part = np.concatenate([seen, by_focal, np.ones((1, len(depths)))])
    residual = seen - points - shifts[:, :, None]

    # Moments Σ ω u uᵀ and Σ ω u rᵀ with u = (a, ∂a/∂log f, b, 1): each block is one matrix product.
    num, size = points.shape[0], camera_part.shape[0]
    own, outer = [0, 1, 2, 3, 4, 5, 9], (camera_part[:, None] * camera_part[None]).reshape(size * size, -1)
    weighted, weighted_residual = robust[:, None] * points, robust[:, None] * residual
    moments, mixed = np.empty((num, 10, 10)), np.empty((num, 3, 10))
    moments[:, np.array(own)[:, None], own] = (robust @ outer.T).reshape(num, size, size)
    moments[:, 6:9, own] = (weighted.reshape(3 * num, -1) @ camera_part.T).reshape(num, 3, size)
    moments[:, own, 6:9] = np.swapaxes(moments[:, 6:9, own], 1, 2)
    moments[:, 6:9, 6:9] = weighted @ np.swapaxes(points, 1, 2)
    mixed[:, :, own] = (weighted_residual.reshape(3 * num, -1) @ camera_part.T).reshape(num, 3, size)
    mixed[:, :, 6:9] = weighted_residual @ np.swapaxes(points, 1, 2)
    hessians, gradients = np.zeros((num, NUM_COLUMNS, NUM_COLUMNS)), np.zeros((num, NUM_COLUMNS))
    for axis, basis in enumerate(_BASIS):
        hessians += basis @ moments @ basis.T
        gradients += mixed[:, axis] @ basis.T

    total = robust.sum(0)
    unit = rays / np.sqrt((rays**2).sum(0) * np.where(total > 0, total, 1))
    edges = np.empty((num, 7, len(depths)))
    edges[:, 0] = weighted[:, 2] * unit[1] - weighted[:, 1] * unit[2]
    edges[:, 1] = weighted[:, 0] * unit[2] - weighted[:, 2] * unit[0]
    edges[:, 2] = weighted[:, 1] * unit[0] - weighted[:, 0] * unit[1]
    edges[:, 3:6] = -robust[:, None] * unit
    edges[:, 6] = -np.einsum("lcs,cs->ls", weighted, unit)
    return ImageTerms(
        cost=loss.cost(votes.squares(depths), weights, scales),
        depths=depths,
        hessians=hessians,
        gradients=gradients,
        focal=total * (by_focal * unit).sum(0),
        edges=edges,
    )
