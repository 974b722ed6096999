"""The kernel of the alignment: what one image's pixels say about its cameras and edges, with their depths eliminated.

For a pixel with viewing ray q (depth 1, camera axes) and incidence l (a pointmap of the image in one edge), whose
prediction in the camera's axes is Y_l,

    a = q D,   r_l = a − Y_l,   cost Σ w ρ(|r_l|)

(DUSt3R, Wang et al. 2024, equation 5, with the pixel's point written as depth along its ray). An incidence moves by
δY_l = ρ_l × Y_l + κ_l + λ_l Y_l, the intrinsics by δa = φ_k G_k a. Given the robust weights ω, the best depth D is a
weighted mean. With the unit ray h, Ω = Σ_l ω_l and z_l = h·κ_l + |a| λ_l, eliminating it (variable projection) leaves

    Σ_l ω_l |(1 − hhᵀ)(δY_l − δa)|² + Σ_l ω_l z_l² − (Σ_l ω_l z_l)² / Ω

with Y ≈ a in the derivatives. So few sums over the pixels are all that a step needs, most of them matrix products: Σωa,
Σωaaᵀ and the like per incidence, and Σ ω_l ω_m / Ω (h, |a|)(h, |a|)ᵀ per pair of incidences.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

L1_FLOOR = 2e-3
"""Distance below which L1 becomes quadratic, in units of the mean edge."""


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
            return float((weights * (squares / distance + distance)).sum(dtype=np.float64) / 2)
        off = np.log1p(squares / (self.width * scales) ** 2)
        return float((weights * off).sum(dtype=np.float64) * self.width**2 / 2)


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


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """The sums over one image's pixels (l incidences, m intrinsics).

    Attributes:
        cost: Σ w ρ.
        depths: best depth of each sample (s,).
        pulls: Σ ω (a, 1) rᵀ of each incidence (l, 4, 3).
        squares: Σ ω |r|² of each incidence (l,).
        features: Σ ω of each incidence over (1, a, the upper half of aaᵀ, and G a less its part along the ray and
            a × G a of each intrinsic) (l, 10 + 6 m).
        intrinsics: Σ Ω of the products of the G a, without their parts along the ray (m, m).
        slips: Σ ω_l ω_m / Ω (h·r_l) over the rows of `gram`, if asked for.
        gram: Σ ω_l ω_m / Ω over (h, |a|) of each incidence; incidences that only scale have |a| alone (rows, rows).
    """

    cost: float
    depths: Float32[np.ndarray, " s"]
    pulls: Float64[np.ndarray, "l 4 3"]
    squares: Float64[np.ndarray, " l"]
    features: Float64[np.ndarray, "l f"]
    intrinsics: Float64[np.ndarray, "m m"]
    gram: Float64[np.ndarray, "g g"]
    slips: Float64[np.ndarray, "l g"] | None


UPPER = np.triu_indices(3)


def image_statistics(
    rays: Float32[np.ndarray, "3 s"],
    placed: Float32[np.ndarray, "l 3 s"],
    weights: Float32[np.ndarray, "l s"],
    scales: Float32[np.ndarray, " s"],
    depths: Float32[np.ndarray, " s"],
    loss: Loss,
    rounds: int,
    num_scaled: int,
    generators: Float32[np.ndarray, "m 3 3"],
    with_slips: bool = False,
) -> Statistics:
    """Sum over the samples of one image, at their best depths.

    Args:
        rays: viewing rays in the camera's axes, depth 1.
        placed: predictions Y in the camera's axes; overwritten.
        weights: w of each incidence and sample.
        scales: depths by which the loss divides.
        depths: depths to start from.
        loss: the loss.
        rounds: reweightings of the depths.
        num_scaled: so many incidences, the first ones, can only scale.
        generators: the matrices G.
        with_slips: sum the slips too.
    """
    squared_rays = (rays**2).sum(0)
    along = (placed[:, 0] * rays[0] + placed[:, 1] * rays[1] + placed[:, 2] * rays[2]) / squared_rays
    across = placed
    for axis in range(3):
        across[:, axis] -= along * rays[axis]
    gaps = across[:, 0] ** 2 + across[:, 1] ** 2 + across[:, 2] ** 2
    votes = Votes(depths=along, gaps=gaps, squared_rays=squared_rays)
    depths, robust = solve_depths(votes, weights, scales, depths, loss, rounds)

    num, num_samples = robust.shape
    squares = votes.squares(depths)
    weighted = np.multiply(across, -robust[:, None], out=across)
    off = robust * (depths - along)
    for axis in range(3):
        weighted[:, axis] += off * rays[axis]
    seen = np.empty((4, num_samples), np.float32)
    np.multiply(rays, depths, out=seen[:3])
    seen[3] = 1
    pulls = (weighted.reshape(3 * num, num_samples) @ seen.T).reshape(num, 3, 4)

    total = robust.sum(0)
    lengths = np.sqrt(squared_rays)
    unit = rays / lengths
    turned = generators @ seen[:3]
    flat = turned - (turned * unit).sum(1)[:, None] * unit
    by_intrinsics = np.concatenate([flat, np.cross(seen[None, :3], turned, axis=1)], axis=1)
    features = np.concatenate([seen[3:], seen[:3], seen[UPPER[0]] * seen[UPPER[1]], *by_intrinsics])
    basis = np.concatenate([unit, (lengths * depths)[None]]) / np.sqrt(np.where(total > 0, total, 1))
    rows = np.empty((num_scaled + 4 * (num - num_scaled), num_samples), np.float32)
    np.multiply(robust[:num_scaled], basis[3], out=rows[:num_scaled])
    np.multiply(robust[num_scaled:, None], basis, out=rows[num_scaled:].reshape(-1, 4, num_samples))
    slips = None
    if with_slips:
        slips = ((off * lengths / np.sqrt(np.where(total > 0, total, 1))) @ rows.T).astype(np.float64)
    return Statistics(
        cost=loss.cost(squares, weights, scales),
        depths=depths,
        pulls=np.swapaxes(pulls, 1, 2).astype(np.float64),
        squares=(robust * squares).sum(1, dtype=np.float64),
        features=(robust @ features.T).astype(np.float64),
        intrinsics=np.einsum("kcs,ncs,s->kn", flat, flat, total).astype(np.float64),
        gram=(rows @ rows.T).astype(np.float64),
        slips=slips,
    )
