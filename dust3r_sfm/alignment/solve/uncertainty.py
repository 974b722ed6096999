"""How sure the cameras are: covariances from the normal equations, scaled by what the residuals are."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64
from scipy.sparse import coo_array

from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.samples import Samples
from dust3r_sfm.alignment.solve.equations import Problem, normal_equations
from dust3r_sfm.alignment.solve.gauss_newton import NUM_FIRST_DEPTH_ROUNDS, start_depths
from dust3r_sfm.alignment.solve.image_data import weighted_images
from dust3r_sfm.alignment.solve.linear import inverse_of
from dust3r_sfm.alignment.solve.unknowns import TIED, Parametrization, Unknowns, num_known, scale_gauge
from dust3r_sfm.alignment.solve.votes import Loss

MAX_NUM_EXACT = 1000
"""Incidences up to which each is a right side of its own; above, random sums of them are. Chosen by hand."""
_NUM_DRAWS = 60
"""Random sums, which leave a tenth of relative error; chosen by hand."""
_DAMPING_OF_DIAGONAL = 1e-9
"""What keeps the factorization whole where nothing holds an unknown; chosen by hand."""


def camera_covariances(
    samples: Samples,
    placement: Placement,
    edge_weights: Float64[np.ndarray, " e"],
    parametrization: Parametrization,
    loss: Loss,
    rng: np.random.Generator,
) -> Float64[np.ndarray, "n 6 6"]:
    """Return the covariance of each camera's turn (radians) and move, in world axes and about its own centre.

    The errors of one pointmap are taken as dependent on each other and those of different pointmaps as independent
    (the "sandwich" H⁻¹ Σ g gᵀ H⁻¹ over the gradients g of single pointmaps, White 1980; Liang and Zeger 1986), so that
    smooth errors count for what they are. What nothing tells, frame and size of the world, is free of error: the
    covariances are those after the best fit to the truth. Edges count as tied to their cameras. One factorization and,
    in large scenes, some right sides (the wild bootstrap): a tenth of relative error.

    Args:
        samples: sampled predictions.
        placement: the solution.
        edge_weights: 0 for edges that are left out.
        parametrization: what may move.
        loss: the loss of the solution.
        rng: source of the random sums.
    """
    parametrization = replace(parametrization, stiffness=TIED)
    sources = samples.edges[:, 0]
    placement = replace(
        placement,
        edge_rotations=placement.rotations[sources],
        edge_centres=placement.centres[sources],
        free=False,
    )
    unknowns = Unknowns(parametrization, samples.edges, edge_weights > 0)
    depths = start_depths(samples, placement, edge_weights, loss)
    problem = Problem(images=weighted_images(samples, edge_weights, depths), unknowns=unknowns, loss=loss)
    equations = normal_equations(problem, placement, depths, NUM_FIRST_DEPTH_ROUNDS, with_depth_residuals=True)
    rows = np.concatenate([np.tile(part.first, len(part.scores)) for part in equations.parts])
    counts = np.cumsum([0] + [len(part.scores) for part in equations.parts])
    columns = np.concatenate(
        [
            np.repeat(np.arange(start, start + len(part.scores)), len(part.first))
            for start, part in zip(counts[:-1], equations.parts, strict=True)
        ]
    )
    values = np.concatenate([part.scores.ravel() for part in equations.parts])
    told = rows >= 0
    shape = (unknowns.size, int(counts[-1]))
    scores = coo_array((values[told], (rows[told], columns[told])), shape=shape).tocsr()
    if shape[1] > MAX_NUM_EXACT:
        pulls = scores @ (rng.choice([-1.0, 1.0], (shape[1], _NUM_DRAWS)) / np.sqrt(_NUM_DRAWS))
    else:
        pulls = scores.toarray()
    gauge = scale_gauge(placement, unknowns)
    if gauge is not None:
        grow, mean = gauge
        pulls = pulls - np.outer(mean, grow @ pulls) / (grow @ mean)
    errors = np.concatenate([inverse_of(equations, _DAMPING_OF_DIAGONAL)(pulls), np.zeros((1, pulls.shape[1]))])
    # As many residuals as there are unknowns have vanished in the fit.
    lost = 7 * shape[1] / max(7 * shape[1] - unknowns.size, 1)
    local = errors[unknowns.poses]
    turned = np.einsum("nij,nbjk->nbik", placement.rotations, local.reshape(len(local), 2, 3, -1))
    turned = turned.reshape(local.shape)
    if gauge is not None and num_known(unknowns) == 0:
        turned = _fitted(turned, placement.centres)
    return np.asarray(lost * turned @ np.swapaxes(turned, 1, 2))


def _fitted(errors: Float64[np.ndarray, "n 6 k"], centres: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 6 k"]:
    """Take out the similarity that fits the moves best."""
    arms, num = centres - centres.mean(0), len(centres)
    modes = np.zeros((num, 6, 7))
    modes[:, :3, :3] = modes[:, 3:, 3:6] = np.eye(3)
    modes[:, 3:, :3] = np.cross(np.eye(3)[None], arms[:, None]).swapaxes(1, 2)
    modes[:, 3:, 6] = arms
    fit = np.linalg.lstsq(modes[:, 3:].reshape(3 * num, 7), errors[:, 3:].reshape(3 * num, -1), rcond=1e-9)[0]
    return np.asarray(errors - modes @ fit)
