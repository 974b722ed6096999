"""Which edges agree with a placement."""

from dataclasses import replace
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.robust import median_of, redescend, weighted_median
from dust3r_sfm.alignment.samples import Samples
from dust3r_sfm.alignment.solve.image_data import Depths
from dust3r_sfm.alignment.solve.votes import image_votes
from dust3r_sfm.system.compiled import compiled

_MIN_TOLERANCE_OF_DEPTH, _TOLERANCE_OF_USUAL = 0.05, 3
"""How far a good edge may be off in any case, and over the usual residual; chosen by hand."""
REJECTED_WEIGHT = 0.05
"""Robust weight below which an edge is left out; chosen by hand."""
_TINY = np.float32(1e-30)


def edge_residuals(samples: Samples, placement: Placement, depths: Depths) -> Float64[np.ndarray, "e 2"]:
    """Return, per edge and role, the median distance of its points from the solved ones over their depth.

    The median is weighted by log-confidence; it is 1 where nothing can be compared.
    """
    residuals = np.ones((len(samples.edges), 2))
    for index, image in enumerate(samples.images):
        if not len(image.edges):
            continue
        votes = image_votes(image.points, image.edges, image.xy, placement, index, image.num_own)
        median = _median_distances(votes.depths, votes.gaps, votes.squared_rays, depths[index], image.weights)
        residuals[image.edges, image.roles] = np.nan_to_num(median, nan=1.0)
    return residuals


@compiled
@no_type_check
def _median_distances(votes, gaps, squared_rays, depths, weights):
    """Return the weighted median, over the samples, of each incidence's distance from the solved points over depth."""
    found, distance = np.empty(len(votes)), np.empty_like(depths)
    for k in range(len(votes)):
        for p in range(len(depths)):
            off = votes[k, p] - depths[p]
            distance[p] = np.sqrt(off * off * squared_rays[p] + gaps[k, p]) / max(abs(depths[p]), _TINY)
        found[k] = median_of(distance, weights[k])
    return found


def information(samples: Samples) -> Float64[np.ndarray, "e 2"]:
    """Return how much each pointmap of each edge knows: its mean log-confidence."""
    known = np.zeros((len(samples.edges), 2))
    for image in samples.images:
        known[image.edges, image.roles] = image.weights.mean(1, dtype=np.float64)
    return known


def fit_scales(samples: Samples, placement: Placement, depths: Depths, which: Bool[np.ndarray, " e"]) -> Placement:
    """Give some edges the scale that suits the solved depths of their first image best."""
    log_scales = placement.log_scales.copy()
    for index, image in enumerate(samples.images):
        rows = np.flatnonzero(which[image.edges] & (image.roles == 0))
        if len(rows):
            own = image.points[rows, 2].astype(np.float64)
            usable = (own > 0) & (depths[index] > 0)
            ratio = np.log(np.where(usable, depths[index], 1) / np.where(usable, own, 1))
            median = weighted_median(ratio, np.where(usable, image.weights[rows], 0))
            edges = image.edges[rows]
            log_scales[edges] = np.where(np.isnan(median), log_scales[edges], median)
    return replace(placement, log_scales=log_scales)


def usual_residual(
    residuals: Float64[np.ndarray, "e 2"], known: Float64[np.ndarray, "e 2"], trust: Float64[np.ndarray, " e"]
) -> float:
    """Return the median residual of the edges that are trusted so far."""
    return float(np.nan_to_num(weighted_median(residuals.max(1), known.min(1) * trust)))


def edge_weights(
    residuals: Float64[np.ndarray, "e 2"], known: Float64[np.ndarray, "e 2"], trust: Float64[np.ndarray, " e"]
) -> Float64[np.ndarray, " e"]:
    """Return a robust weight of each edge, 0 for those that do not fit.

    What fits is relative to the residuals of the edges that are trusted so far, whatever the predictor's accuracy.
    """
    usual = usual_residual(residuals, known, trust)
    weights = redescend(residuals.max(1), max(_TOLERANCE_OF_USUAL * usual, _MIN_TOLERANCE_OF_DEPTH))
    return np.where(weights < REJECTED_WEIGHT, 0.0, weights)
