"""The normal equations of a placement: one small matrix per image, over the unknowns of the edges that see it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dust3r_sfm.alignment.image_data import ImageData
from dust3r_sfm.alignment.moments import UPPER, Loss, Statistics, image_statistics
from dust3r_sfm.alignment.penalty import Penalty
from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.unknowns import Model, Unknowns

Depths = tuple[Float32[np.ndarray, " _"], ...]
"""Depths of the samples of each image."""

FOCAL = -np.diag([1.0, 1.0, 0.0])
PRINCIPAL = -np.array([[[0.0, 0, 1], [0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 1], [0, 0, 0]]])
CROSS = np.zeros((3, 3, 3))
for _row, _column, _axis in ((2, 1, 0), (0, 2, 1), (1, 0, 2)):
    CROSS[_axis, _row, _column], CROSS[_axis, _column, _row] = 1.0, -1.0


def camera_rays(xy: Float64[np.ndarray, "2 s"], placement: Placement, index: int) -> Float32[np.ndarray, "3 s"]:
    """Return the rays of an image's samples in its camera's axes, depth 1."""
    rays = np.ones((3, xy.shape[1]), np.float32)
    rays[:2] = (xy - placement.principal[index, :, None]) / placement.focals[index]
    return rays


def place(
    points: Float32[np.ndarray, "l 3 s"], edges: Int64[np.ndarray, " l"], placement: Placement, index: int
) -> Float32[np.ndarray, "l 3 s"]:
    """Return predictions in the axes of an image's camera."""
    to_camera = placement.rotations[index].T
    turn = np.exp(placement.log_scales[edges])[:, None, None] * (to_camera @ placement.edge_rotations[edges])
    shift = (placement.edge_centres[edges] - placement.centres[index]) @ to_camera.T
    return np.asarray(turn.astype(np.float32) @ points + shift[:, :, None].astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class ImageEquations:
    """One image's part: `matrix` over local columns that stand for the sums of up to two unknowns each.

    An edge's own pose and that of its first camera have the same effect on another image. `scores` are the gradients
    of the single incidences, whose sum is the gradient.
    """

    matrix: Float64[np.ndarray, "c c"]
    scores: Float64[np.ndarray, "l c"]
    first: Int64[np.ndarray, " c"]
    second: Int64[np.ndarray, " c"]


@dataclass(frozen=True, kw_only=True)
class Equations:
    """Cost, gradient and matrix at a placement, all depths at their best.

    Attributes:
        cost: Σ w ρ and the penalties.
        depths: of all samples.
        gradient: of the cost (u,).
        parts: the matrix, image by image.
        diagonal: what the penalties add to the matrix (u,).
    """

    cost: float
    depths: Depths
    gradient: Float64[np.ndarray, " u"]
    parts: tuple[ImageEquations, ...]
    diagonal: Float64[np.ndarray, " u"]


def normal_equations(
    images: list[ImageData],
    placement: Placement,
    model: Model,
    unknowns: Unknowns,
    loss: Loss,
    penalty: Penalty | None,
    scales: Depths,
    depths: Depths,
    rounds: int,
    with_slips: bool = False,
) -> Equations:
    """Sum the equations of all images; with slips, the scores of incidences are those with the depths eliminated."""
    generators = np.concatenate([FOCAL[None], PRINCIPAL if model.free_principal else PRINCIPAL[:0]])
    found, cost, parts = list(depths), 0.0, []
    gradient, diagonal = np.zeros(unknowns.size + 1), np.zeros(unknowns.size)
    for image in images:
        statistics = image_statistics(
            camera_rays(image.xy, placement, image.index),
            place(image.points, image.edges, placement, image.index),
            image.weights,
            scales[image.index],
            depths[image.index],
            loss,
            rounds,
            image.num_own if model.tied else 0,
            generators.astype(np.float32),
            with_slips,
        )
        cost += statistics.cost
        found[image.index] = statistics.depths
        part = _image_equations(image, statistics, placement, unknowns, generators, model.tied)
        pull = part.scores.sum(0)
        np.add.at(gradient, part.first, pull)
        np.add.at(gradient, part.second, pull)
        parts.append(part)
    gradient = gradient[:-1]
    if penalty is not None:
        cost += penalty.add(placement, unknowns, gradient, diagonal)
    return Equations(cost=cost, depths=tuple(found), gradient=gradient, parts=tuple(parts), diagonal=diagonal)


def _image_equations(
    image: ImageData,
    statistics: Statistics,
    placement: Placement,
    unknowns: Unknowns,
    generators: Float64[np.ndarray, "m 3 3"],
    tied: bool,
) -> ImageEquations:
    """Bring one image's sums from changes of its incidences to the unknowns.

    Local columns: its own pointmaps (turn, move, scale; tied ones scale only), those in other frames (seven each), its
    pose, its intrinsics.
    """
    num, own, others = len(image.edges), image.num_own, len(image.edges) - image.num_own
    width = 1 if tied else 7
    num_intrinsics = len(generators)
    split, end = width * own, width * own + 7 * others
    direct, coupling, pull = _direct(statistics, num_intrinsics)

    matrix, scores = np.zeros((end + num_intrinsics,) * 2), np.zeros((num, end + num_intrinsics))
    # Columns of move and scale of each incidence, in the order of the rows of the Gram matrix, scale last.
    offset = np.concatenate([width * np.arange(own), split + 7 * np.arange(others)])
    rows_each = np.where(np.arange(num) < own, 1 if tied else 4, 4)
    last = np.cumsum(rows_each) - 1
    scales = np.where(np.arange(num) < own, offset + width - 1, offset + 6)
    own_scale = np.repeat(scales, rows_each)
    columns = own_scale - np.repeat(last, rows_each) + np.arange(len(own_scale))
    gram = statistics.gram
    matrix[columns[:, None], columns] = -gram
    # Growing all incidences together only makes the depths grow: by construction, lest rounding make it cost.
    common = gram[:, last].sum(1)
    matrix[columns, own_scale] += common
    mirrored = columns != own_scale
    matrix[own_scale[mirrored], columns[mirrored]] += common[mirrored]

    whole = slice(own, None) if tied else slice(None)
    start = offset[whole]
    block = start[:, None] + np.arange(7)
    matrix[block[:, :, None], block[:, None, :]] += direct[whole]
    phi = end + np.arange(num_intrinsics)
    matrix[block[:, :, None], phi] += coupling[whole]
    matrix[phi[:, None, None], block] += np.moveaxis(coupling[whole], 2, 0)
    matrix[end:, end:] = statistics.intrinsics
    scores[np.arange(num)[whole, None], block] = pull[whole]
    if tied:
        scores[np.arange(own), np.arange(own)] = pull[:own, 6]
    scores[:, end:] = np.einsum("kab,lba->lk", generators, statistics.pulls[:, :3])

    if statistics.slips is not None:
        scores[:, columns] += statistics.slips

    transfer = _transfer(image, placement, unknowns)
    matrix = _to_unknowns(_to_unknowns(matrix, transfer, split, end).T, transfer, split, end)
    scores = _to_unknowns(scores, transfer, split, end)

    edges, index = image.edges, image.index
    mine, theirs = edges[:own], edges[own:]
    scale = unknowns.log_scales
    if tied:
        cameras = unknowns.poses[unknowns.edges[theirs, 0]]
        first = [scale[mine], np.c_[cameras, scale[theirs]].ravel()]
        second = [np.full(split + 7 * others, -1)]
    else:
        cameras = unknowns.poses[unknowns.edges[theirs, 0]]
        first = [np.c_[unknowns.edge_poses[edges], scale[edges]].ravel()]
        second = [np.full(split, -1), np.c_[cameras, np.full(others, -1)].ravel()]
    return ImageEquations(
        matrix=matrix,
        scores=scores,
        first=np.concatenate([*first, unknowns.poses[index], unknowns.intrinsics[index]]),
        second=np.concatenate([*second, np.full(6 + num_intrinsics, -1)]),
    )


def _direct(
    statistics: Statistics, num_intrinsics: int
) -> tuple[Float64[np.ndarray, "l 7 7"], Float64[np.ndarray, "l 7 m"], Float64[np.ndarray, "l 7"]]:
    """Return the terms of single incidences over (turn, move, scale), but for what the Gram matrix holds of them."""
    features, pulls = statistics.features, statistics.pulls
    num = len(features)
    total, seen = features[:, 0], features[:, 1:4]
    outer = np.empty((num, 3, 3))
    outer[:, UPPER[0], UPPER[1]] = outer[:, UPPER[1], UPPER[0]] = features[:, 4:10]
    direct = np.zeros((num, 7, 7))
    direct[:, :3, :3] = np.trace(outer, axis1=1, axis2=2)[:, None, None] * np.eye(3) - outer
    direct[:, :3, 3:6] = np.einsum("abc,la->lbc", CROSS, seen)
    direct[:, 3:6, :3] = np.swapaxes(direct[:, :3, 3:6], 1, 2)
    direct[:, 3:6, 3:6] = total[:, None, None] * np.eye(3)
    by_intrinsics = features[:, 10:].reshape(num, num_intrinsics, 2, 3)
    coupling = np.zeros((num, 7, num_intrinsics))
    coupling[:, 3:6] = -np.swapaxes(by_intrinsics[:, :, 0], 1, 2)
    coupling[:, :3] = -np.swapaxes(by_intrinsics[:, :, 1], 1, 2)
    pull = np.empty((num, 7))
    turning = pulls[:, :3]
    for axis, (b, c) in enumerate(((1, 2), (2, 0), (0, 1))):
        pull[:, axis] = turning[:, c, b] - turning[:, b, c]
    pull[:, 3:6] = -pulls[:, 3]
    pull[:, 6] = statistics.squares - np.trace(turning, axis1=1, axis2=2)
    return direct, coupling, pull


def _transfer(image: ImageData, placement: Placement, unknowns: Unknowns) -> Float64[np.ndarray, "o 7 7"]:
    """Return how turns, moves and scales in the first cameras' axes act in this camera's, for the foreign pointmaps."""
    sources = unknowns.edges[image.edges[image.num_own :], 0]
    to_camera = placement.rotations[image.index].T
    turn = to_camera @ placement.rotations[sources]
    origin = (placement.centres[sources] - placement.centres[image.index]) @ to_camera.T
    transfer = np.zeros((len(sources), 7, 7))
    transfer[:, :3, :3] = transfer[:, 3:6, 3:6] = turn
    transfer[:, 3:6, :3] = np.einsum("abc,la->lbc", CROSS, origin) @ turn
    transfer[:, 3:6, 6] = -origin
    transfer[:, 6, 6] = 1
    return transfer


def _to_unknowns(
    matrix: Float64[np.ndarray, "r c"], transfer: Float64[np.ndarray, "o 7 7"], split: int, end: int
) -> Float64[np.ndarray, "r d"]:
    """Multiply by the change of columns, from incidences to own pointmaps, foreign frames, own pose and intrinsics."""
    rows, others = len(matrix), len(transfer)
    foreign = matrix[:, split:end].reshape(rows, others, 7)
    changed = np.swapaxes(np.swapaxes(foreign, 0, 1) @ transfer, 0, 1).reshape(rows, 7 * others)
    pose = -foreign[:, :, :6].sum(1)
    return np.concatenate([matrix[:, :split], changed, pose, matrix[:, end:]], axis=1)
