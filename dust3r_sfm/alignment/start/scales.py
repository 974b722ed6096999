"""Relative sizes of the edges: depth maps of one image must be proportional, and those of wrong poses are not.

A pair with a wrong pose gives depth maps that are not proportional to those of the image's other pairs, so the same
comparison that finds the sizes also finds bad pairs that no loop of rotations reveals.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.alignment.robust import median_of, redescend, weighted_median
from dust3r_sfm.alignment.samples import Samples
from dust3r_sfm.alignment.start.graph import solve_laplacian
from dust3r_sfm.alignment.start.pairwise import RelativePoses
from dust3r_sfm.system.compiled import compiled

_MAX_NUM_SAMPLES, _MAX_NUM_REFERENCES = 300, 12
"""Pixels in which maps of an image are compared, and maps that each is compared with; chosen by hand."""
_MIN_SPREAD_LOG = 0.01
"""Spread of log-ratios of depth that proportional maps have in any case; chosen by hand."""
_NUM_ROUNDS, _CONVERGED_LOG = 10, 1e-4
"""Reweightings of each kind at most, and the change of log-scales that ends them; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class DepthLinks:
    """How the depth maps that each image is given by its edges compare.

    Attributes:
        offsets: log of the factor from the depth of edge e, seen by its first or second image, to that image's common
            depth (e, 2); NaN where the map is not compared (second images of pairs with both directions).
        proportional: how far that depth is proportional to the image's other ones, 0 to 1 (e, 2); NaN likewise.
    """

    offsets: Float64[np.ndarray, "e 2"]
    proportional: Float64[np.ndarray, "e 2"]


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """The depth maps of one image, each against the best covered ones (l maps, r references)."""

    edges: Int64[np.ndarray, " l"]
    roles: Int64[np.ndarray, " l"]
    references: Int64[np.ndarray, " r"]
    log_ratios: Float64[np.ndarray, "l r"]
    spreads: Float64[np.ndarray, "l r"]
    overlaps: Float64[np.ndarray, "l r"]


def link_depths(samples: Samples, pairs: RelativePoses) -> DepthLinks:
    """Compare all depth maps of each image."""
    comparisons = [_compare(samples, pairs, index) for index in range(len(samples.images))]
    spreads = np.concatenate([c.spreads.ravel() for c in comparisons])
    overlaps = np.concatenate([c.overlaps.ravel() for c in comparisons])
    usual = float(weighted_median(spreads, overlaps)) if overlaps.any() else 0.0
    width = 2 * max(usual, _MIN_SPREAD_LOG)

    offsets, proportional = np.full((len(samples.edges), 2), np.nan), np.full((len(samples.edges), 2), np.nan)
    for c in comparisons:
        agreement = redescend(c.spreads, width)
        trust = np.ones(len(c.edges))
        for _ in range(5):
            seen = c.overlaps * trust[c.references]
            trust = ((seen * agreement).sum(1) + 1e-4) / (seen.sum(1) + 2e-4)
        weights = c.overlaps * agreement * trust[:, None] * trust[c.references]
        sources = np.repeat(np.arange(len(c.edges)), len(c.references))
        offsets[c.edges, c.roles] = average(
            len(c.edges), sources, np.tile(c.references, len(c.edges)), c.log_ratios.ravel(), weights.ravel()
        )
        proportional[c.edges, c.roles] = trust
    return DepthLinks(offsets=offsets, proportional=proportional)


def edge_log_scales(
    pairs: RelativePoses, links: DepthLinks, num_images: int, trust: Float64[np.ndarray, " p"]
) -> Float64[np.ndarray, " e"]:
    """Find the log-scale of every edge (its points times exp of it are in world units), with mean 0.

    Each image has one unknown, the size of its common depth; each pair says how the sizes of its two images compare.
    """
    there, back = pairs.edges[:, 0], pairs.edges[:, 1]
    # An edge is in world units after its offset at one image and that image's size; at both ends of a pair alike.
    first = np.where(there >= 0, links.offsets[there, 0], links.offsets[back, 1])
    second = np.where(back >= 0, links.offsets[back, 0], links.offsets[there, 1])
    differences = first - second + pairs.log_ratios
    sizes = average(num_images, pairs.images[:, 0], pairs.images[:, 1], differences, trust)

    scales = np.zeros(len(links.offsets))
    for side, edge in ((0, there), (1, back)):
        present = edge >= 0
        scales[edge[present]] = sizes[pairs.images[present, side]] + links.offsets[edge[present], 0]
    return np.asarray(scales - scales.mean())


def average(
    num_nodes: int,
    sources: Int64[np.ndarray, " k"],
    targets: Int64[np.ndarray, " k"],
    differences: Float64[np.ndarray, " k"],
    weights: Float64[np.ndarray, " k"],
) -> Float64[np.ndarray, " n"]:
    """Find numbers x with x[target] − x[source] ≈ differences by reweighting, L1 then redescending; their mean is 0."""
    values, robust = np.zeros(num_nodes), weights
    for robustly in (lambda residual: 1 / (residual + 0.005), lambda residual: redescend(residual, 0.1)):
        for _ in range(_NUM_ROUNDS):
            before = values
            values = solve_laplacian(num_nodes, sources, targets, differences[None, :, None], robust[None])[0, :, 0]
            robust = weights * robustly(np.abs(values[targets] - values[sources] - differences))
            if np.abs(values - before).max() < _CONVERGED_LOG:
                break
    return values


def _compare(samples: Samples, pairs: RelativePoses, index: int) -> _Comparison:
    edges, roles, log_depths, weights = _depth_maps(samples, pairs, index)
    best = np.sort(np.argsort(-weights.sum(0), kind="stable")[:_MAX_NUM_SAMPLES])
    log_depths, weights = log_depths[:, best], weights[:, best]
    references = np.sort(np.argsort(-weights.sum(1), kind="stable")[:_MAX_NUM_REFERENCES])
    log_ratios, spreads, overlaps = _ratios(np.ascontiguousarray(log_depths), np.ascontiguousarray(weights), references)
    return _Comparison(
        edges=edges, roles=roles, references=references, log_ratios=log_ratios, spreads=spreads, overlaps=overlaps
    )


@compiled
@no_type_check
def _ratios(log_depths, weights, references):
    """Return the median log-ratio of each map to each reference, the spread about it, and how much both know."""
    shape = (len(log_depths), len(references))
    log_ratios, spreads, overlaps = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    size = log_depths.shape[1]
    difference, weight = np.empty(size), np.empty(size)
    for r in range(len(references)):
        reference = references[r]
        for k in range(len(log_depths)):
            total = 0.0
            for p in range(size):
                difference[p] = log_depths[k, p] - log_depths[reference, p]
                weight[p] = min(weights[k, p], weights[reference, p])
                total += weight[p]
            if k != reference and total > 0:
                overlaps[k, r] = total / size
                log_ratios[k, r] = median_of(difference, weight)
                for p in range(size):
                    difference[p] = abs(difference[p] - log_ratios[k, r])
                spreads[k, r] = median_of(difference, weight)
    return log_ratios, spreads, overlaps


def _depth_maps(
    samples: Samples, pairs: RelativePoses, index: int
) -> tuple[Int64[np.ndarray, " l"], Int64[np.ndarray, " l"], Float64[np.ndarray, "l s"], Float64[np.ndarray, "l s"]]:
    """Log-depths of an image: its own maps, and those in other frames where a pair has no direction of its own."""
    image = samples.images[index]
    depths = image.points[:, 2].astype(np.float64)
    wanted = image.roles == 0
    for p, side in zip(*np.nonzero(pairs.images == index), strict=True):
        edge = int(pairs.edges[p, 1 - side])
        if pairs.edges[p, side] < 0:
            incidence = image.incidence(edge)
            # The image is second in the edge: the third row of its rotation is the frame's direction of depth.
            rotation = pairs.rotations[p] if side else pairs.rotations[p].T
            depths[incidence] = rotation[:, 2] @ (image.points[incidence] - pairs.centres[p, 1 - side, :, None])
            wanted[incidence] = True
    depths, weights = depths[wanted], np.where(depths > 0, image.weights, 0)[wanted]
    return image.edges[wanted], image.roles[wanted], np.log(np.where(depths > 0, depths, 1)), weights.astype(np.float64)
