"""Gauss-Newton on cameras, focal lengths and edges, with all depths eliminated."""

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from jaxtyping import Float64, Int64

from dust3r_sfm.alignment.moments import (
    CAMERA_FOCAL,
    CAMERA_MOVE,
    CAMERA_TURN,
    EDGE_MOVE,
    EDGE_SCALE,
    EDGE_TURN,
    NUM_COLUMNS,
    ImageTerms,
    Loss,
    Votes,
    image_terms,
    solve_depths,
    vote,
)
from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.samples import ImageSamples, Samples
from dust3r_sfm.geometry.transforms import rotation_exp

Depths = tuple[Float64[np.ndarray, " _"], ...]
"""Depths of the samples of each image."""

MAX_TURN, MAX_STRETCH = 0.3, 0.3
"""Largest turn in radians and change of a log-scale or log focal length in one step."""
DAMPING = 1e-4
PIN = 1e6
"""Weight that keeps the mean log-scale where it is, against unknowns of weight 1: shrinking would lower the cost."""
MIN_DAMPING, MAX_DAMPING = 1e-9, 1e4
CONVERGED = 1e-8
"""Step, in radians and units of the mean edge, that ends the refinement."""
DEPTH_ROUNDS_FIRST, DEPTH_ROUNDS = 8, 2


@dataclass(frozen=True, kw_only=True)
class Model:
    """Which unknowns there are.

    Attributes:
        cameras: images with equal numbers share their focal length (n,).
        free_edges: each edge has a pose of its own (DUSt3R's objective); otherwise it is its first camera's.
    """

    cameras: Int64[np.ndarray, " n"]
    free_edges: bool


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A placement and the depths of the samples in it."""

    placement: Placement
    depths: Depths


class _Layout:
    """Where each unknown stands in the system.

    Attributes:
        poses: turn and move of each camera (n, 6).
        focals: focal length of each image's camera (n,).
        log_scales: of each edge (e,).
        edge_poses: turn and move of each edge's frame (e, 6): those of its first camera unless edges are free.
        size: number of unknowns.
    """

    def __init__(self, samples: Samples, model: Model) -> None:
        num_images, num_edges = len(samples.images), len(samples.edges)
        groups = np.unique(model.cameras, return_inverse=True)[1]
        self.samples, self.free_edges = samples, model.free_edges
        self.poses = np.arange(6 * num_images).reshape(-1, 6)
        self.focals = 6 * num_images + groups
        self.log_scales = 6 * num_images + int(groups.max()) + 1 + np.arange(num_edges)
        self.size = int(self.log_scales[-1]) + 1
        self.edge_poses = self.poses[samples.edges[:, 0]]
        if model.free_edges:
            self.edge_poses = self.size + np.arange(6 * num_edges).reshape(-1, 6)
            self.size += 6 * num_edges

    def columns(self, index: int) -> Int64[np.ndarray, "l 14"]:
        """Return the unknowns behind the 14 columns of each incidence of an image; −1 where a column is fixed."""
        image = self.samples.images[index]
        columns = np.full((len(image.edges), NUM_COLUMNS), -1, np.int64)
        columns[:, CAMERA_FOCAL], columns[:, EDGE_SCALE] = self.focals[index], self.log_scales[image.edges]
        # Tied to its camera, an edge's first pointmap turns and moves with that camera: only sizes remain.
        moving = (image.roles == 1) | self.free_edges
        columns[moving, CAMERA_TURN.start : CAMERA_MOVE.stop] = self.poses[index]
        columns[moving, EDGE_TURN.start : EDGE_MOVE.stop] = self.edge_poses[image.edges[moving]]
        # The first camera stays where it is.
        columns[(columns >= 0) & (columns < 6)] = -1
        return columns


@dataclass(frozen=True, kw_only=True)
class _Normal:
    cost: float
    depths: Depths
    hessian: Float64[np.ndarray, "u u"]
    gradient: Float64[np.ndarray, " u"]


def camera_rays(image: ImageSamples, focal: float) -> Float64[np.ndarray, "3 s"]:
    """Return the rays of the samples in the camera's frame, depth 1."""
    return np.concatenate([image.xy.T / focal, np.ones((1, len(image.xy)))])


def placed_points(
    image: ImageSamples, placement: Placement, index: int
) -> tuple[Float64[np.ndarray, "l 3 s"], Float64[np.ndarray, "l 3"]]:
    """Return exp(s_e) R_e X and t_e − t_v of an image's incidences."""
    scale = np.exp(placement.log_scales[image.edges])[:, None, None]
    points = (scale * placement.edge_rotations[image.edges]) @ image.points.astype(np.float64)
    return points, placement.edge_centres[image.edges] - placement.centres[index]


def image_votes(image: ImageSamples, placement: Placement, index: int) -> Votes:
    """Express an image's predictions along its rays in the world."""
    rays = placement.rotations[index] @ camera_rays(image, float(placement.focals[index]))
    return vote(rays, *placed_points(image, placement, index))


def start_depths(samples: Samples, placement: Placement, edge_weights: Float64[np.ndarray, " e"], loss: Loss) -> Depths:
    """Return robust depths of all samples for a placement."""
    found = []
    for index, image in enumerate(samples.images):
        votes = image_votes(image, placement, index)
        weights = image.weights * edge_weights[image.edges, None]
        total = weights.sum(0)
        mean = (weights * votes.depths).sum(0) / np.where(total > 0, total, 1)
        floor = 1e-3 * float(np.median(np.abs(mean)) + 1e-12)
        mean = np.maximum(mean, floor)
        depths = solve_depths(votes, weights, mean, mean, loss, DEPTH_ROUNDS_FIRST)[0]
        found.append(np.maximum(depths, floor))
    return tuple(found)


def refine(
    samples: Samples,
    start: Placement,
    edge_weights: Float64[np.ndarray, " e"],
    model: Model,
    loss: Loss,
    max_steps: int,
    min_gain: float,
) -> Solution:
    """Minimise the loss over all unknowns from `start` by damped Gauss-Newton steps.

    It ends after `max_steps`, or with the first step that lowers the cost by less than `min_gain` of it.

    The mean log-scale of the edges of positive weight and the pose of the first camera stay as they are.
    """
    layout = _Layout(samples, model)
    scales = start_depths(samples, start, edge_weights, loss)
    normal = _normal_equations(samples, start, edge_weights, layout, loss, scales, scales)
    placement, damping = start, DAMPING
    for _ in range(max_steps):
        change = _solve(normal, edge_weights, layout, damping)
        candidate = _move(placement, change, layout)
        attempt = _normal_equations(samples, candidate, edge_weights, layout, loss, scales, normal.depths)
        if attempt.cost > normal.cost:
            if damping > MAX_DAMPING:
                break
            damping = 10 * max(damping, DAMPING)
            continue
        gain = normal.cost - attempt.cost
        placement, normal, damping = candidate, attempt, max(damping / 10, MIN_DAMPING)
        if np.abs(change).max(initial=0) < CONVERGED or gain <= min_gain * normal.cost:
            break
    return Solution(placement=placement, depths=normal.depths)


def _normal_equations(
    samples: Samples,
    placement: Placement,
    edge_weights: Float64[np.ndarray, " e"],
    layout: _Layout,
    loss: Loss,
    scales: Depths,
    depths: Depths,
) -> _Normal:
    # One more row and column takes what belongs to fixed unknowns; it is cut off at the end.
    hessian, gradient = np.zeros((layout.size + 1, layout.size + 1)), np.zeros(layout.size + 1)
    cost, found = 0.0, []
    for index, image in enumerate(samples.images):
        active = np.flatnonzero(edge_weights[image.edges] > 0)
        if not len(active):
            found.append(depths[index])
            continue
        used = replace(
            image,
            edges=image.edges[active],
            roles=image.roles[active],
            points=image.points[active],
            weights=image.weights[active],
        )
        terms = image_terms(
            camera_rays(used, float(placement.focals[index])),
            placement.rotations[index],
            *placed_points(used, placement, index),
            used.weights * edge_weights[used.edges, None],
            scales[index],
            depths[index],
            loss,
            DEPTH_ROUNDS,
        )
        cost += terms.cost
        found.append(terms.depths)
        _scatter(hessian, gradient, terms, layout.columns(index)[active])
    return _Normal(cost=cost, depths=tuple(found), hessian=hessian[:-1, :-1], gradient=gradient[:-1])


def _scatter(
    hessian: Float64[np.ndarray, "u u"],
    gradient: Float64[np.ndarray, " u"],
    terms: ImageTerms,
    columns: Int64[np.ndarray, "l 14"],
) -> None:
    """Add one image's terms to the full system, less what its depths explain."""
    np.add.at(gradient, columns, terms.gradients)
    np.add.at(hessian, (columns[:, :, None], columns[:, None, :]), terms.hessians)
    moving = columns[:, CAMERA_MOVE.start] >= 0
    unknown = np.concatenate([columns[:, EDGE_TURN.start :].ravel(), columns[:1, CAMERA_FOCAL]])
    rows = np.concatenate([terms.edges.reshape(-1, terms.edges.shape[2]), terms.focal[None]])
    if moving.any():
        unknown = np.concatenate([unknown, columns[moving][0, CAMERA_MOVE]])
        rows = np.concatenate([rows, -terms.edges[moving, 3:6].sum(0)])
    rows, unknown = rows[unknown >= 0], unknown[unknown >= 0]
    # No unknown comes twice: an image shares no two edges of one direction with the same other image.
    hessian[unknown[:, None], unknown] -= rows @ rows.T


def _solve(
    normal: _Normal, edge_weights: Float64[np.ndarray, " e"], layout: _Layout, damping: float
) -> Float64[np.ndarray, " u"]:
    """Return a damped step that keeps the mean log-scale of the edges in use."""
    diagonal = np.diag(normal.hessian)
    # Unknowns in their own units: a unit diagonal, also for the fixed ones, whose gradient is 0.
    units = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))
    system = normal.hessian * units[:, None] * units
    np.fill_diagonal(system, 1 + damping)
    used = layout.log_scales[edge_weights > 0]
    mean = units[used] / np.linalg.norm(units[used])
    system[used[:, None], used] += PIN * mean[:, None] * mean
    change = -units * scipy.linalg.solve(system, normal.gradient * units, assume_a="pos", check_finite=False)
    stretch = np.abs(change[np.concatenate([layout.focals, layout.log_scales])]).max(initial=0) / MAX_STRETCH
    turn = np.abs(change[np.concatenate([layout.poses, layout.edge_poses])[:, :3]]).max(initial=0) / MAX_TURN
    return np.asarray(change / max(1.0, float(stretch), float(turn)))


def _move(placement: Placement, change: Float64[np.ndarray, " u"], layout: _Layout) -> Placement:
    """Apply a step; tied edges follow their first camera."""
    rotations = rotation_exp(change[layout.poses[:, :3]]) @ placement.rotations
    centres = placement.centres + change[layout.poses[:, 3:]]
    if layout.free_edges:
        edge_rotations = rotation_exp(change[layout.edge_poses[:, :3]]) @ placement.edge_rotations
        edge_centres = placement.edge_centres + change[layout.edge_poses[:, 3:]]
    else:
        sources = layout.samples.edges[:, 0]
        edge_rotations, edge_centres = rotations[sources], centres[sources]
    return Placement(
        rotations=rotations,
        centres=centres,
        focals=placement.focals * np.exp(change[layout.focals]),
        edge_rotations=edge_rotations,
        edge_centres=edge_centres,
        log_scales=placement.log_scales + change[layout.log_scales],
    )
