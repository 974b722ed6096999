"""Depth maps at full resolution for a solved placement, in one more pass over the predictions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.reading import GUESS, NOTHING, is_usable, read_pointmaps
from dust3r_sfm.alignment.solve.votes import ONE, Loss, frames_of, irls_depths
from dust3r_sfm.system.compiled import compiled
from dust3r_sfm.types import Edge, ImageSet, PairPrediction

MIN_VOTES, MAX_VOTES = 3, 24
"""Pointmaps below which those of other images vote too, and at most; chosen by hand."""
_NUM_ROUNDS, _NUM_ROUNDS_L1 = 4, 12
"""Reweightings; more move 5 % of the depths, by 0.02 to 0.06 %. L1 converges more slowly. Chosen by hand."""
_BLOCK_PIXELS = 1 << 13
"""Pixels solved at once, so that their votes fit into the cache; chosen by hand."""
_AGREEMENT_OF_DEPTH = 0.03
"""How far a prediction may be from a depth that it confirms; chosen by hand."""
_TINY = np.float32(1e-30)

Source = tuple[int, int]
"""An edge's index and the role, 0 or 1, that an image has in it."""


def choose_sources(
    num_images: int, edges: Int64[np.ndarray, "e 2"], merits: Float64[np.ndarray, "e 2"], every: bool = False
) -> list[list[Source]]:
    """Choose the pointmaps that vote on each image's depths: its own ones, and others' where those are too few.

    Reading stays near one prediction per edge, and memory below `MAX_VOTES` maps.

    Args:
        num_images: number of images.
        edges: directed edges.
        merits: what the two pointmaps of each edge are worth; those of 0 are not used.
        every: choose all pointmaps, as the L1 objectives ask for; it takes twice the time, and memory grows.

    Returns:
        The sources of each image, its own pointmaps first; at most `MAX_VOTES` unless all.
    """
    chosen = []
    for image in range(num_images):
        found = [(merits[e, 0], int(e), 0) for e in np.flatnonzero(edges[:, 0] == image) if merits[e, 0] > 0]
        if every or len(found) < MIN_VOTES:
            found += [(merits[e, 1], int(e), 1) for e in np.flatnonzero(edges[:, 1] == image) if merits[e, 1] > 0]
        best = sorted(found, key=lambda source: -source[0])[: None if every else MAX_VOTES]
        chosen.append(sorted(((edge, role) for _, edge, role in best), key=lambda source: source[::-1]))
    return chosen


@dataclass(frozen=True, kw_only=True)
class PlacedPairs:
    """The predictions, and where the alignment put them.

    Attributes:
        images: all photographs.
        predictions: the predictions.
        edges: directed edges, between the photographs, that `placement` and sources number.
        placement: cameras and edges.
        weights: robust weight of each edge.
        loss: the loss of the alignment.
    """

    images: ImageSet
    predictions: Mapping[Edge, PairPrediction]
    edges: Int64[np.ndarray, "e 2"]
    placement: Placement
    weights: Float64[np.ndarray, " e"]
    loss: Loss


def full_depth(
    pairs: PlacedPairs,
    index: int,
    matrix: Float64[np.ndarray, "3 3"],
    sources: Sequence[Source],
    progress: Callable[[], None] = lambda: None,
) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Solve the depth of every pixel of one image, with every prediction read once.

    Args:
        pairs: the aligned pairs.
        index: the image, in their placement.
        matrix: its intrinsics.
        sources: the pointmaps that vote, one at least.
        progress: called after each prediction.

    Returns:
        Depth, 0 where nothing is known, and confidence: that of the best prediction which the depth agrees with.
    """
    edge, role = sources[0]
    width, height = pairs.images.views[pairs.edges[edge, role]].network_size
    viewing = pixel_rays(height, width, matrix)
    num, pixels = len(sources), height * width
    votes, gaps = np.empty((num, pixels), np.float32), np.empty((num, pixels), np.float32)
    sure = np.empty((num, pixels), np.float32)
    num_own = sum(role == 0 for _, role in sources)
    transforms = frames_of(np.array([edge for edge, _ in sources]), num_own, pairs.placement, index)
    for row, (edge, role) in enumerate(sources):
        between = (int(pairs.edges[edge, 0]), int(pairs.edges[edge, 1]))
        (pointmap,) = read_pointmaps(pairs.images, pairs.predictions, between, [role])
        points, confidence = pointmap.take()
        _read_votes(points, confidence, viewing, transforms[row], votes[row], gaps[row], sure[row])
        progress()

    trust = pairs.weights[[edge for edge, _ in sources]].astype(np.float32)
    rounds = _NUM_ROUNDS_L1 if pairs.loss.width is None else _NUM_ROUNDS
    squared = viewing[0] ** 2 + viewing[1] ** 2 + 1
    depth, best = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
    for start in range(0, pixels, _BLOCK_PIXELS):
        block = slice(start, start + _BLOCK_PIXELS)
        known = sure[:, block].copy()
        depth[block], best[block] = _solve_block(
            votes[:, block].copy(),
            gaps[:, block].copy(),
            known,
            pairs.loss.confidence_weight(known),
            squared[block],
            trust,
            pairs.loss.sharpness,
            rounds,
        )
    return depth.reshape(height, width), best.reshape(height, width)


@compiled
@no_type_check
def pixel_rays(height, width, matrix):
    """Return x and y of all pixels' viewing rays, which have depth 1, row by row (2, height width)."""
    found = np.empty((2, height * width), np.float32)
    for row in range(height):
        for column in range(width):
            found[0, row * width + column] = (column + 0.5 - matrix[0, 2]) / matrix[0, 0]
            found[1, row * width + column] = (row + 0.5 - matrix[1, 2]) / matrix[1, 1]
    return found


@compiled
@no_type_check
def _read_votes(points, confidence, viewing, transform, votes, gaps, sure):
    """Express the points of one map along the rays of their pixels; what is not finite or not sure has confidence 1.

    Args:
        points, confidence: the map (p, 3) and (p,).
        viewing: rays of depth 1, x and y (2, p).
        transform: camera from the map's frame (3, 4).
        votes, gaps, sure: depth, squared distance from the ray and confidence less 1, to be filled in (p,).
    """
    t = transform
    for p in range(len(points)):
        x, y, z, known = points[p, 0], points[p, 1], points[p, 2], confidence[p] - NOTHING
        usable = is_usable(x, y, z, known)
        a = t[0, 0] * x + t[0, 1] * y + t[0, 2] * z + t[0, 3]
        b = t[1, 0] * x + t[1, 1] * y + t[1, 2] * z + t[1, 3]
        c = t[2, 0] * x + t[2, 1] * y + t[2, 2] * z + t[2, 3]
        u, v = viewing[0, p], viewing[1, p]
        along = (a * u + b * v + c) / (u * u + v * v + ONE)
        a, b, c = a - along * u, b - along * v, c - along
        votes[p] = along if usable else np.float32(0)
        gaps[p] = a * a + b * b + c * c if usable else np.float32(0)
        sure[p] = known if usable else np.float32(0)


@compiled
@no_type_check
def _solve_block(votes, gaps, sure, weights, squared, trust, sharpness, rounds):
    """Solve depths and what the best prediction that agrees is sure of; unknown ones are 0, and 1."""
    mean, total = np.zeros(len(squared), np.float32), np.zeros(len(squared), np.float32)
    for k in range(len(votes)):
        for p in range(len(squared)):
            weights[k, p] *= trust[k]
            total[p] += weights[k, p]
            mean[p] += weights[k, p] * votes[k, p]
    for p in range(len(squared)):
        mean[p] = mean[p] / total[p] if total[p] > 0 and mean[p] > 0 else np.float32(0)
    scales = np.where(mean > 0, mean, ONE)
    depth = irls_depths(votes, gaps, squared, weights, scales, scales, sharpness, rounds)[0]
    best, sharp = np.zeros(len(squared), np.float32), np.float32(1 / _AGREEMENT_OF_DEPTH**2)
    for p in range(len(squared)):
        if not (mean[p] > 0 and depth[p] > 0):
            depth[p] = 0
    for k in range(len(votes)):
        for p in range(len(squared)):
            # 1 / (1 + (n / (width D))²): the share of a vote that the depth agrees with.
            off = votes[k, p] - depth[p]
            square = depth[p] * depth[p]
            share = square / (square + (off * off * squared[p] + gaps[k, p]) * sharp + _TINY)
            best[p] = max(best[p], sure[k, p] * share * trust[k])
    for p in range(len(squared)):
        # What only guesses say stays a guess, however they differ.
        best[p] = max(best[p], GUESS) if depth[p] > 0 else best[p]
    return depth, NOTHING + best
