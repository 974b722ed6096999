"""One connected component: place its cameras, refine them, and leave out what contradicts the rest."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.alignment.frame.known import Known, in_metres, onto_known
from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.samples import Samples
from dust3r_sfm.alignment.solve.edges import (
    REJECTED_WEIGHT,
    edge_residuals,
    edge_weights,
    fit_scales,
    information,
    usual_residual,
)
from dust3r_sfm.alignment.solve.gauss_newton import gauss_newton, start_depths
from dust3r_sfm.alignment.solve.uncertainty import camera_covariances
from dust3r_sfm.alignment.solve.unknowns import FREE, TIED, Parametrization
from dust3r_sfm.alignment.solve.votes import Loss
from dust3r_sfm.alignment.start.graph import doubtful_bridges, largest_component
from dust3r_sfm.alignment.start.initialize import Start, initialize
from dust3r_sfm.alignment.start.pairwise import RelativePoses, pose_errors, relative_poses
from dust3r_sfm.options import AlignOptions

_FIRST_WIDTH_OF_DEPTH, _ROUGH_WIDTH_OF_DEPTH = 0.1, 0.03
"""Widths of the Cauchy loss while the placement is still rough; chosen by hand."""
_WIDTH_OF_RESIDUAL, _MIN_WIDTH_OF_DEPTH, _MAX_WIDTH_OF_DEPTH = 2.5, 0.005, 0.15
"""Its width in the end, over the usual residual of good edges and within bounds; chosen by hand."""
_STIFFNESS_TIMES_WIDTH = 4e-2
"""What holds second pointmaps to the cameras of the first, per weight: little where predictions are far off, as a
network's are, and much where they are exact to a thousandth, as those of a geometric predictor. A pair's relative pose
is wrong as a whole, so pixels must not pull at the cameras as if each were an observation of its own. Chosen by
hand."""
_NUM_ROUGH_SAMPLES = 800
"""Pixels of each image that find the first placement; chosen by hand."""
_ROUGH_GAIN_OF_COST, _FINAL_GAIN_OF_COST = 1e-3, 1e-4
"""What a step must gain for another one to follow, before outliers are left out and after; chosen by hand."""


_MAX_ROTATION_DEGREES, _MAX_DIRECTION_DEGREES = 5.0, 15.0
"""By how much a pair's cameras may miss the placed ones and still speak for them; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """A solved component: `images` and `edges` mark what is in it, the rest follows their order.

    Weights and residuals are those of each edge (0: it contradicts the rest); `loss` is that of the last refinement.
    `covariances` is for all images, NaN outside the component (see `camera_covariances`), and `cycles` for all edges,
    NaN outside: how the edge's pair misses its triangles (see `edge_cycles`).
    """

    images: Bool[np.ndarray, " n"]
    edges: Bool[np.ndarray, " e"]
    placement: Placement
    weights: Float64[np.ndarray, " k"]
    residuals: Float64[np.ndarray, " k"]
    loss: Loss
    cycles: Float64[np.ndarray, "e 3"]
    covariances: Float64[np.ndarray, "n 6 6"]


def align_component(
    samples: Samples,
    images: Bool[np.ndarray, " n"],
    focals: Float64[np.ndarray, " n"],
    cameras: Int64[np.ndarray, " n"],
    known: Known,
    options: AlignOptions,
    rng: np.random.Generator,
) -> Aligned:
    """Place and refine the cameras of a connected component, and leave out what contradicts the rest."""
    edges = images[samples.edges].all(1)
    part = samples.select(images, edges)
    if not len(part.edges):
        return _alone(images, edges, focals)
    cameras, known = cameras[images], known.select(images)
    rough = part.thin(_NUM_ROUGH_SAMPLES)
    pairs = relative_poses(rough, focals[images])
    start = initialize(rough, pairs, focals[images], rng)
    placement, cycles = start.placement, np.full((len(samples.edges), 3), np.nan)
    cycles[edges] = start.cycles

    weights, loss = np.ones(len(part.edges)), Loss(width=None, linear=options.objective == "paper")
    parametrization = Parametrization(cameras=cameras, stiffness=FREE, known_intrinsics=known.calibrated)
    if options.objective == "robust":
        parametrization = replace(parametrization, stiffness=TIED)
        placement, weights, width = _without_outliers(rough, pairs, start, parametrization, options.max_steps)
        within = largest_component(len(part.images), part.edges[weights > 0])
        inside = within[part.edges].all(1)
        part, placement, weights = part.select(within, inside), placement.select(within, inside), weights[inside]
        known = known.select(within)
        parametrization = replace(parametrization, cameras=cameras[within], known_intrinsics=known.calibrated)
        images, edges = images.copy(), edges.copy()
        images[images], edges[edges] = within, inside
        placement, parametrization = _on_known(placement, part, known, parametrization, options)
        loss = Loss(width=width)
        stiffness = {"auto": _STIFFNESS_TIMES_WIDTH / width, "tied": TIED, "free": FREE}[options.model]
        parametrization = replace(parametrization, stiffness=stiffness)
    else:
        part = part.weighted_by(loss.confidence_weight) if loss.linear else part
        placement, parametrization = _on_known(placement, part, known, parametrization, options)

    placement = replace(placement, free=parametrization.stiffness == FREE)
    # Edges that fit count alike: how well one fits says more about its noise than about the good of its pose.
    accepted = (weights > 0).astype(np.float64)
    solution = gauss_newton(part, placement, accepted, parametrization, loss, options.max_steps, _FINAL_GAIN_OF_COST)
    rough, depths = part.thin(_NUM_ROUGH_SAMPLES), tuple(depth[:_NUM_ROUGH_SAMPLES] for depth in solution.depths)
    placement = fit_scales(rough, solution.placement, depths, weights == 0)
    residuals = edge_residuals(rough, placement, depths)
    covariances = np.full((len(images), 6, 6), np.nan)
    covariances[images] = camera_covariances(rough, placement, accepted, parametrization, loss, rng)
    if options.objective == "robust":
        fit = edge_weights(residuals, information(rough), weights)
        weights = np.where(weights > 0, np.maximum(fit, REJECTED_WEIGHT), 0)
    return Aligned(
        images=images,
        edges=edges,
        placement=placement,
        weights=weights,
        residuals=residuals.max(1),
        loss=loss,
        cycles=cycles,
        covariances=covariances,
    )


def _on_known(
    placement: Placement, samples: Samples, known: Known, parametrization: Parametrization, options: AlignOptions
) -> tuple[Placement, Parametrization]:
    """Put the cameras where they are known to be and hold what is known; free the principal points if asked to."""
    if options.metric:
        placement = in_metres(placement, samples.edges)
    parametrization = replace(
        parametrization,
        known_poses=known.posed,
        known_scales=options.metric,
        free_principal=options.free_principal_point,
    )
    return onto_known(placement, samples.edges, known), parametrization


def _without_outliers(
    samples: Samples, pairs: RelativePoses, start: Start, parametrization: Parametrization, max_steps: int
) -> tuple[Placement, Float64[np.ndarray, " e"], float]:
    """Refine with a narrowing loss and weigh the edges by how they fit; return also the width that suits good ones."""
    known, placement, trust = information(samples), start.placement, start.trust
    depths = start_depths(samples, placement, trust, Loss(width=_FIRST_WIDTH_OF_DEPTH))
    for width in (_FIRST_WIDTH_OF_DEPTH, _ROUGH_WIDTH_OF_DEPTH):
        trust = edge_weights(edge_residuals(samples, placement, depths), known, trust)
        loss = Loss(width=width)
        solution = gauss_newton(samples, placement, trust, parametrization, loss, max_steps, _ROUGH_GAIN_OF_COST)
        depths = solution.depths
        placement = fit_scales(samples, solution.placement, depths, trust == 0)
    residuals = edge_residuals(samples, placement, depths)
    weights = edge_weights(residuals, known, trust)
    width = _WIDTH_OF_RESIDUAL * usual_residual(residuals, known, weights)
    width = min(max(width, _MIN_WIDTH_OF_DEPTH), _MAX_WIDTH_OF_DEPTH)
    agrees = _agreeing(pairs, placement, len(samples.edges))
    doubtful = doubtful_bridges(len(samples.images), samples.edges, weights > 0, agrees, known.min(1))
    return placement, np.where(doubtful, 0, weights), width


def _agreeing(pairs: RelativePoses, placement: Placement, num_edges: int) -> Bool[np.ndarray, " e"]:
    """Mark the edges of pairs whose own relative pose is about that of the placed cameras."""
    rotation, direction = pose_errors(pairs, placement)
    agreeing = (rotation < _MAX_ROTATION_DEGREES) & (direction < _MAX_DIRECTION_DEGREES)
    edges = np.zeros(num_edges, bool)
    for side in (0, 1):
        present = pairs.edges[:, side] >= 0
        edges[pairs.edges[present, side]] = agreeing[present]
    return edges


def _alone(images: Bool[np.ndarray, " n"], edges: Bool[np.ndarray, " e"], focals: Float64[np.ndarray, " n"]) -> Aligned:
    """Return the placement of a single photograph."""
    placement = Placement(
        rotations=np.eye(3)[None],
        centres=np.zeros((1, 3)),
        focals=focals[images],
        principal=np.zeros((1, 2)),
        edge_rotations=np.empty((0, 3, 3)),
        edge_centres=np.empty((0, 3)),
        log_scales=np.empty(0),
    )
    nothing, loss = np.empty(0), Loss(width=_MAX_WIDTH_OF_DEPTH)
    return Aligned(
        images=images,
        edges=edges,
        placement=placement,
        weights=nothing,
        residuals=nothing,
        loss=loss,
        cycles=np.full((len(edges), 3), np.nan),
        covariances=np.where(images[:, None, None], 0.0, np.full((len(images), 6, 6), np.nan)),
    )
