"""The normal equations of a placement: one small matrix per image, over the unknowns of the edges that see it."""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.solve.image_data import ImageData
from dust3r_sfm.alignment.solve.moments import image_statistics
from dust3r_sfm.alignment.solve.penalty import Penalty
from dust3r_sfm.alignment.solve.unknowns import Model, Unknowns
from dust3r_sfm.alignment.solve.votes import Loss
from dust3r_sfm.system.compiled import compiled

Depths = tuple[Float32[np.ndarray, " _"], ...]
"""Depths of the samples of each image."""

FOCAL = -np.diag([1.0, 1.0, 0.0])
PRINCIPAL = -np.array([[[0.0, 0, 1], [0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 1], [0, 0, 0]]])


@dataclass(frozen=True, kw_only=True)
class ImageEquations:
    """One image's part: `matrix` over local columns that stand for the sums of up to two unknowns each.

    An edge's own pose and that of its first camera have the same effect on another image. `scores` add up to the
    gradient; with slips, they are those of the single incidences.
    """

    matrix: Float64[np.ndarray, "c c"]
    scores: Float64[np.ndarray, "k c"]
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
            image.points,
            image.rows,
            image.edges,
            image.xy,
            placement,
            image.index,
            image.weights,
            scales[image.index],
            depths[image.index],
            loss,
            rounds,
            image.num_own,
            generators,
            with_slips,
        )
        cost += statistics.cost
        found[image.index] = statistics.depths
        matrix, scores = _assemble(
            statistics.features,
            statistics.pulls,
            statistics.squares,
            statistics.intrinsics,
            statistics.gram,
            statistics.slips,
            generators,
            image.num_own,
            not placement.free,
            image.edges,
            image.index,
            unknowns.edges,
            placement.rotations,
            placement.centres,
        )
        first, second = unknowns.local(image.index, image.edges, image.num_own)
        part = ImageEquations(matrix=matrix, scores=scores, first=first, second=second)
        pull = part.scores.sum(0)
        np.add.at(gradient, part.first, pull)
        np.add.at(gradient, part.second, pull)
        parts.append(part)
    gradient = gradient[:-1]
    if penalty is not None:
        cost += penalty.add(placement, unknowns, gradient, diagonal)
    return Equations(cost=cost, depths=tuple(found), gradient=gradient, parts=tuple(parts), diagonal=diagonal)


@compiled
@no_type_check
def _assemble(
    features,
    pulls,
    squares,
    intrinsics,
    gram,
    slips,
    generators,
    num_own,
    tied,
    edges,
    index,
    edge_images,
    rotations,
    centres,
):
    """Bring one image's sums (see `Statistics`) from changes of its incidences to the unknowns: matrix and scores.

    Local columns: its own pointmaps (scale; free ones turn, move, scale), those in other frames (seven each), its
    pose, its intrinsics.
    """
    num, others, num_intrinsics = len(features), len(features) - num_own, len(generators)
    width, num_scores = (1 if tied else 7), max(len(slips), 1)
    split = width * num_own
    end = split + 7 * others
    size = end + num_intrinsics
    system = np.zeros((size, size + num_scores))

    # Columns of the rows of the Gram matrix: move and scale of each incidence, scale last.
    columns, scale_of_row, scale_rows = (
        np.empty(len(gram), np.int64),
        np.empty(len(gram), np.int64),
        np.empty(num, np.int64),
    )
    row = 0
    for k in range(num):
        last = width * (k + 1) - 1 if k < num_own else split + 7 * (k - num_own) + 6
        count = 1 if tied and k < num_own else 4
        for f in range(count):
            columns[row + f], scale_of_row[row + f] = last - count + 1 + f, last
        row += count
        scale_rows[k] = row - 1
    for a in range(len(gram)):
        # Growing all incidences together only makes the depths grow: by construction, lest rounding make it cost.
        common = 0.0
        for k in range(num):
            common += gram[a, scale_rows[k]]
        for b in range(len(gram)):
            system[columns[a], columns[b]] -= gram[a, b]
        system[columns[a], scale_of_row[a]] += common
        if columns[a] != scale_of_row[a]:
            system[scale_of_row[a], columns[a]] += common

    system[end:, end:size] = intrinsics
    for k in range(num):
        score = size + min(k, num_scores - 1)
        pull, last = pulls[k], columns[scale_rows[k]]
        along = squares[k] - pull[0, 0] - pull[1, 1] - pull[2, 2]
        for m in range(num_intrinsics):
            value = 0.0
            for a in range(3):
                for b in range(3):
                    value += generators[m, a, b] * pull[a, b]
            system[end + m, score] += value
        system[last, score] += along
        if tied and k < num_own:
            continue
        turn, move, sums = last - 6, last - 3, features[k]
        trace = sums[4] + sums[7] + sums[9]
        for a in range(3):
            b, c = (a + 1) % 3, (a + 2) % 3
            system[turn + a, score] += pull[b, c] - pull[c, b]
            system[move + a, score] -= pull[a, 3]
            system[turn + a, turn + a] += trace
            system[move + a, move + a] += sums[0]
            for f in range(3):
                low, high = min(a, f), max(a, f)
                system[turn + a, turn + f] -= sums[4 + 2 * low + high - (1 if low == 2 else 0)]
            system[turn + c, move + b] += sums[1 + a]
            system[turn + b, move + c] -= sums[1 + a]
            system[move + b, turn + c] += sums[1 + a]
            system[move + c, turn + b] -= sums[1 + a]
            for m in range(num_intrinsics):
                across, around = sums[10 + 6 * m + a], sums[10 + 6 * m + 3 + a]
                system[move + a, end + m] -= across
                system[end + m, move + a] -= across
                system[turn + a, end + m] -= around
                system[end + m, turn + a] -= around
    for k in range(len(slips)):
        for a in range(len(gram)):
            system[columns[a], size + k] += slips[k, a]

    transfer = _transfer(edge_images[edges[num_own:], 0], index, rotations, centres)
    half = _to_unknowns(system, transfer, split, end)
    matrix = _to_unknowns(np.ascontiguousarray(half[:, :size].T), transfer, split, end)
    return matrix, np.ascontiguousarray(half[:, size:].T)


@compiled
@no_type_check
def _transfer(sources, index, rotations, centres):
    """Return how turns, moves and scales in the first cameras' axes act in this camera's, for the foreign pointmaps."""
    found = np.zeros((len(sources), 7, 7))
    origin = np.empty(3)
    for k in range(len(sources)):
        source = sources[k]
        for a in range(3):
            origin[a] = 0.0
            for c in range(3):
                origin[a] += rotations[index, c, a] * (centres[source, c] - centres[index, c])
            for b in range(3):
                turn = 0.0
                for c in range(3):
                    turn += rotations[index, c, a] * rotations[source, c, b]
                found[k, a, b] = found[k, 3 + a, 3 + b] = turn
        for a in range(3):
            b, c = (a + 1) % 3, (a + 2) % 3
            for d in range(3):
                found[k, 3 + a, d] = origin[b] * found[k, c, d] - origin[c] * found[k, b, d]
            found[k, 3 + a, 6] = -origin[a]
        found[k, 6, 6] = 1
    return found


@compiled
@no_type_check
def _to_unknowns(system, transfer, split, end):
    """Bring the rows from incidences to own pointmaps, foreign frames, own pose and intrinsics."""
    size = system.shape[1]
    changed = np.zeros((len(system) + 6, size))
    changed[:split] = system[:split]
    changed[end + 6 :] = system[end:]
    for k in range(len(transfer)):
        start = split + 7 * k
        for a in range(7):
            for b in range(7):
                factor = transfer[k, a, b]
                if factor != 0:
                    for c in range(size):
                        changed[start + b, c] += factor * system[start + a, c]
        for a in range(6):
            for c in range(size):
                changed[end + a, c] -= system[start + a, c]
    return changed
