"""One connected component: place its cameras, refine them, and leave out what contradicts the rest."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.alignment.edges import edge_residuals, fit_scales, information, judge, usual_residual
from dust3r_sfm.alignment.graph import doubtful_bridges, largest_component
from dust3r_sfm.alignment.initialize import initialize
from dust3r_sfm.alignment.moments import Loss
from dust3r_sfm.alignment.pairwise import relative_poses
from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.samples import Samples
from dust3r_sfm.alignment.solve import Model, refine, start_depths
from dust3r_sfm.options import AlignOptions

FIRST_WIDTH = 0.1
"""Width of the Cauchy loss, over depth, while the first placement is still rough."""
MIN_WIDTH, MAX_WIDTH = 0.005, 0.03
"""Its width in the end, which follows the residuals of good edges."""
ROUGH_GAIN, FINAL_GAIN = 1e-3, 1e-5
"""Share of the cost that a step must gain for another one to follow, before outliers are left out and after."""


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """A solved component: `images` and `edges` mark what is in it, the rest follows their order.

    Weights and residuals are those of each edge (0: it contradicts the rest); `loss` is that of the last refinement.
    """

    images: Bool[np.ndarray, " n"]
    edges: Bool[np.ndarray, " e"]
    placement: Placement
    weights: Float64[np.ndarray, " k"]
    residuals: Float64[np.ndarray, " k"]
    loss: Loss


def align_component(
    samples: Samples,
    images: Bool[np.ndarray, " n"],
    focals: Float64[np.ndarray, " n"],
    cameras: Int64[np.ndarray, " n"],
    options: AlignOptions,
    rng: np.random.Generator,
) -> Aligned:
    """Place and refine the cameras of a connected component, and leave out what contradicts the rest."""
    edges = images[samples.edges].all(1)
    part = samples.select(images, edges)
    if not len(part.edges):
        return _alone(images, edges, focals)
    cameras = cameras[images]
    pairs = relative_poses(part, focals[images])
    placement, trust = initialize(part, pairs, focals[images], rng)

    weights, loss = np.ones(len(part.edges)), Loss(width=None)
    model = Model(cameras=cameras, free_edges=options.objective == "paper")
    if options.objective == "robust":
        placement, weights, loss = _without_outliers(part, placement, trust, model, options.max_steps)
        within = largest_component(len(part.images), part.edges[weights > 0])
        inside = within[part.edges].all(1)
        part, placement, weights = part.select(within, inside), placement.select(within, inside), weights[inside]
        model = replace(model, cameras=cameras[within])
        images, edges = images.copy(), edges.copy()
        images[images], edges[edges] = within, inside

    solution = refine(part, placement, weights, model, loss, options.max_steps, FINAL_GAIN)
    placement = fit_scales(part, solution.placement, solution.depths, weights == 0)
    residuals = edge_residuals(part, placement, solution.depths).max(1)
    return Aligned(images=images, edges=edges, placement=placement, weights=weights, residuals=residuals, loss=loss)


def _without_outliers(
    samples: Samples, placement: Placement, trust: Float64[np.ndarray, " e"], model: Model, max_steps: int
) -> tuple[Placement, Float64[np.ndarray, " e"], Loss]:
    """Refine with a narrowing loss and weigh the edges anew by how they fit; return also the loss to end with."""
    known = information(samples)
    depths = start_depths(samples, placement, trust, Loss(width=FIRST_WIDTH))
    for width in (FIRST_WIDTH, MAX_WIDTH):
        trust = judge(edge_residuals(samples, placement, depths), known, trust)
        solution = refine(samples, placement, trust, model, Loss(width=width), max_steps, ROUGH_GAIN)
        depths = solution.depths
        placement = fit_scales(samples, solution.placement, depths, trust == 0)
    residuals = edge_residuals(samples, placement, depths)
    width = float(np.clip(3 * usual_residual(residuals, known, trust), MIN_WIDTH, MAX_WIDTH))
    weights = judge(residuals, known, trust)
    doubtful = doubtful_bridges(len(samples.images), samples.edges, weights > 0, known.min(1))
    return placement, np.where(doubtful, 0, weights), Loss(width=width)


def _alone(images: Bool[np.ndarray, " n"], edges: Bool[np.ndarray, " e"], focals: Float64[np.ndarray, " n"]) -> Aligned:
    """Return the placement of a single photograph."""
    placement = Placement(
        rotations=np.eye(3)[None],
        centres=np.zeros((1, 3)),
        focals=focals[images],
        edge_rotations=np.empty((0, 3, 3)),
        edge_centres=np.empty((0, 3)),
        log_scales=np.empty(0),
    )
    nothing, loss = np.empty(0), Loss(width=MAX_WIDTH)
    return Aligned(images=images, edges=edges, placement=placement, weights=nothing, residuals=nothing, loss=loss)
