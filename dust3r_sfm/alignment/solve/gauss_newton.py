"""Gauss-Newton on cameras, intrinsics and edges, with all depths eliminated."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.samples import Samples
from dust3r_sfm.alignment.solve.equations import Problem, normal_equations
from dust3r_sfm.alignment.solve.image_data import Depths, weighted_images
from dust3r_sfm.alignment.solve.linear import solve_step
from dust3r_sfm.alignment.solve.penalty import edge_penalty
from dust3r_sfm.alignment.solve.unknowns import FREE, TIED, Parametrization, Unknowns, moved, scale_gauge
from dust3r_sfm.alignment.solve.votes import Loss, image_votes, irls_depths

_MAX_STEP_RADIANS = 0.3
"""Largest turn, and change of a log-scale or log focal length, in one step; chosen by hand."""
_DAMPING_OF_DIAGONAL, _MIN_DAMPING_OF_DIAGONAL, _MAX_DAMPING_OF_DIAGONAL = 1e-4, 1e-8, 1e4
"""At the start, at least, and where no step lowers the cost any more; chosen by hand."""
_CONVERGED_RADIANS = 1e-8
"""Step, also in units of the mean edge, that ends the refinement; chosen by hand."""
NUM_FIRST_DEPTH_ROUNDS, _NUM_DEPTH_ROUNDS = 8, 2
"""Reweightings of the depths at the first placement and at those that follow it; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A placement and the depths of the samples in it."""

    placement: Placement
    depths: Depths


def start_depths(samples: Samples, placement: Placement, edge_weights: Float64[np.ndarray, " e"], loss: Loss) -> Depths:
    """Return robust depths of all samples for a placement."""
    found = []
    for index, image in enumerate(samples.images):
        votes = image_votes(image.points, image.edges, image.xy, placement, index, image.num_own)
        weights = image.weights * edge_weights[image.edges, None].astype(np.float32)
        total = weights.sum(0)
        mean = (weights * votes.depths).sum(0) / np.where(total > 0, total, 1)
        floor = np.float32(1e-3 * float(np.median(np.abs(mean))) + 1e-12)
        mean = np.maximum(mean, floor)
        depths = irls_depths(
            votes.depths, votes.gaps, votes.squared_rays, weights, mean, mean, loss.sharpness, NUM_FIRST_DEPTH_ROUNDS
        )[0]
        found.append(np.maximum(depths, floor))
    return tuple(found)


def gauss_newton(
    samples: Samples,
    start: Placement,
    edge_weights: Float64[np.ndarray, " e"],
    parametrization: Parametrization,
    loss: Loss,
    max_steps: int,
    min_gain: float,
) -> Solution:
    """Minimize the loss over all unknowns from `start` by damped Gauss-Newton steps.

    It ends after `max_steps`, or with the first step that lowers the cost by less than `min_gain` of it. The mean
    log-scale of the edges of positive weight stays as it is, unless known poses or scales say what it is.
    """
    unknowns = Unknowns(parametrization, samples.edges, edge_weights > 0)
    depths = start_depths(samples, start, edge_weights, loss)
    images, stiffness = weighted_images(samples, edge_weights, depths), parametrization.stiffness
    penalty = edge_penalty(images, len(samples.edges), stiffness) if FREE < stiffness < TIED else None
    problem = Problem(images=images, unknowns=unknowns, loss=loss, penalty=penalty)
    equations = normal_equations(problem, start, depths, _NUM_DEPTH_ROUNDS)
    placement, damping = start, _DAMPING_OF_DIAGONAL
    for _ in range(max_steps):
        step = solve_step(equations, unknowns, scale_gauge(placement, unknowns), damping)
        step = unknowns.limit(step, _MAX_STEP_RADIANS)
        candidate = moved(placement, step, unknowns)
        attempt = normal_equations(problem, candidate, equations.depths, _NUM_DEPTH_ROUNDS)
        small = np.abs(step).max(initial=0) < _CONVERGED_RADIANS
        if attempt.cost > equations.cost:
            if small or damping > _MAX_DAMPING_OF_DIAGONAL:
                break
            damping = 10 * max(damping, _DAMPING_OF_DIAGONAL)
            continue
        gain = equations.cost - attempt.cost
        placement, equations, damping = candidate, attempt, max(damping / 10, _MIN_DAMPING_OF_DIAGONAL)
        if small or gain <= min_gain * equations.cost:
            break
    return Solution(placement=placement, depths=equations.depths)
