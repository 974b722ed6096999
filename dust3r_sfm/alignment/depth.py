"""Depth maps at full resolution for a solved placement, in one more pass over the predictions."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dust3r_sfm.alignment.moments import Loss, Votes, solve_depths
from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.reading import read_pointmaps
from dust3r_sfm.alignment.samples import log_confidence
from dust3r_sfm.geometry.pinhole import rays
from dust3r_sfm.types import Edge, ImageSet, PairPrediction

MIN_VOTES, MAX_VOTES = 3, 24
ROUNDS, ROUNDS_L1 = 4, 12
"""Reweightings; more move 5 % of the depths, by 0.02 to 0.06 %. L1 converges more slowly."""
PIXELS_AT_ONCE = 1 << 13
AGREEMENT = Loss(width=0.03)
"""How far a prediction may be from a depth that it confirms, over that depth."""

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
        every: choose all pointmaps, as DUSt3R's objective asks for; it takes twice the time, and memory grows.

    Returns:
        The sources of each image, at most `MAX_VOTES` unless all.
    """
    chosen = []
    for image in range(num_images):
        found = [(merits[e, 0], int(e), 0) for e in np.flatnonzero(edges[:, 0] == image) if merits[e, 0] > 0]
        if every or len(found) < MIN_VOTES:
            found += [(merits[e, 1], int(e), 1) for e in np.flatnonzero(edges[:, 1] == image) if merits[e, 1] > 0]
        best = sorted(found, key=lambda source: -source[0])[: None if every else MAX_VOTES]
        chosen.append(sorted((edge, role) for _, edge, role in best))
    return chosen


def full_depth(
    images: ImageSet,
    predictions: Mapping[Edge, PairPrediction],
    edges: Int64[np.ndarray, "e 2"],
    placement: Placement,
    edge_weights: Float64[np.ndarray, " e"],
    index: int,
    matrix: Float64[np.ndarray, "3 3"],
    shape: tuple[int, int],
    sources: Sequence[Source],
    loss: Loss,
    progress: Callable[[], None] = lambda: None,
) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Solve the depth of every pixel of one image, with every prediction read once.

    Args:
        images: all photographs.
        predictions: the predictions.
        edges: directed edges, between the photographs, that `placement` and `sources` number.
        placement: cameras and edges.
        edge_weights: robust weight of each edge.
        index: the image, in `placement`.
        matrix: its intrinsics.
        shape: (height, width) of its pointmaps.
        sources: the pointmaps that vote.
        loss: the loss of the alignment.
        progress: called after each prediction.

    Returns:
        Depth, 0 where nothing is known, and confidence: that of the best prediction which the depth agrees with.
    """
    camera_rays = np.ascontiguousarray(rays(*shape, matrix).reshape(-1, 3).T, np.float32)
    squared_rays = (camera_rays**2).sum(0)
    num, pixels = len(sources), shape[0] * shape[1]
    depths, gaps = np.zeros((num, pixels), np.float32), np.zeros((num, pixels), np.float32)
    weights = np.zeros((num, pixels), np.float32)
    axes = placement.rotations[index].T
    for row, (edge, role) in enumerate(sources):
        (pointmap,) = read_pointmaps(images, predictions, (int(edges[edge, 0]), int(edges[edge, 1])), [role])
        points, sure = pointmap.take(np.s_[:])
        turn = np.exp(placement.log_scales[edge]) * axes @ placement.edge_rotations[edge]
        shift = axes @ (placement.edge_centres[edge] - placement.centres[index])
        with np.errstate(invalid="ignore", over="ignore"):
            placed = turn.astype(np.float32) @ points.reshape(-1, 3).T + shift.astype(np.float32)[:, None]
            along = (placed * camera_rays).sum(0) / squared_rays
            placed -= along * camera_rays
            across = (placed**2).sum(0)
        weights[row] = log_confidence(placed.T, sure.ravel())
        known = weights[row] > 0
        depths[row], gaps[row] = np.where(known, along, 0), np.where(known, across, 0)
        progress()

    trust = edge_weights[[edge for edge, _ in sources], None].astype(np.float32)
    depth, confidence = np.zeros(pixels, np.float32), np.ones(pixels, np.float32)
    for start in range(0, pixels, PIXELS_AT_ONCE):
        block = slice(start, start + PIXELS_AT_ONCE)
        votes = Votes(depths=depths[:, block], gaps=gaps[:, block], squared_rays=squared_rays[block])
        depth[block], confidence[block] = _solve_block(votes, weights[:, block], trust, loss)
    return depth.reshape(shape), confidence.reshape(shape)


def _solve_block(
    votes: Votes, weights: Float32[np.ndarray, "l s"], trust: Float32[np.ndarray, "l 1"], loss: Loss
) -> tuple[Float32[np.ndarray, " s"], Float32[np.ndarray, " s"]]:
    total = (weights * trust).sum(0)
    mean = (weights * trust * votes.depths).sum(0) / np.where(total > 0, total, 1)
    scales = np.where(mean > 0, mean, 1)
    depth = solve_depths(votes, weights * trust, scales, scales, loss, ROUNDS if loss.width else ROUNDS_L1)[0]
    known = (total > 0) & (mean > 0) & (depth > 0)
    depth = np.where(known, depth, 0)
    # 1 / (1 + (n / (width D))²): the share of a vote that the depth agrees with.
    agreement = AGREEMENT.weigh(votes.squares(depth), np.ones_like(weights), np.where(known, depth, 1)) * depth**2
    confidence = 1 + (np.expm1(weights) * agreement * trust).max(0, initial=0)
    return depth.astype(np.float32), np.where(known, confidence, 1).astype(np.float32)
