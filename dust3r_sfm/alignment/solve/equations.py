"""The normal equations of a placement: one small matrix per image, over the unknowns of the edges that see it."""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.solve.image_data import Depths, ImageData
from dust3r_sfm.alignment.solve.moments import (
    ACROSS,
    AROUND,
    INTRINSICS,
    OUTER_OF,
    PER_INTRINSIC,
    POINT,
    WEIGHT,
    image_statistics,
)
from dust3r_sfm.alignment.solve.penalty import Penalty
from dust3r_sfm.alignment.solve.unknowns import Unknowns
from dust3r_sfm.alignment.solve.votes import Loss
from dust3r_sfm.system.compiled import compiled

_FOCAL = -np.diag([1.0, 1.0, 0.0])
_PRINCIPAL = -np.array([[[0.0, 0, 1], [0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 1], [0, 0, 0]]])
"""How points move with the intrinsics: the matrices G of the log focal length and of the principal point."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is minimized, and over which unknowns.

    Attributes:
        images: the samples that take part.
        unknowns: what may move.
        loss: on the distances of the samples.
        penalty: on what holds edges to their cameras, or None.
    """

    images: list[ImageData]
    unknowns: Unknowns
    loss: Loss
    penalty: Penalty | None = None

    @property
    def generators(self) -> Float64[np.ndarray, "m 3 3"]:
        """The matrices G of the intrinsics that may move."""
        return np.concatenate([_FOCAL[None], _PRINCIPAL[: self.unknowns.intrinsics.shape[1] - 1]])


@dataclass(frozen=True, kw_only=True)
class ImageEquations:
    """One image's part: `matrix` over local columns that stand for the sums of up to two unknowns each.

    An edge's own pose and that of its first camera have the same effect on another image. `scores` add up to the
    gradient; with depth residuals, they are those of the single incidences.
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
    problem: Problem, placement: Placement, depths: Depths, rounds: int, with_depth_residuals: bool = False
) -> Equations:
    """Sum the equations of all images.

    Args:
        problem: what is minimized.
        placement: where its cameras and edges are.
        depths: of all samples, to start from.
        rounds: reweightings of the depths.
        with_depth_residuals: make the scores those of single incidences, with the depths eliminated.
    """
    unknowns, generators = problem.unknowns, problem.generators
    best, cost, parts = list(depths), 0.0, []
    gradient, diagonal = np.zeros(unknowns.size + 1), np.zeros(unknowns.size)
    for image in problem.images:
        statistics = image_statistics(
            image, placement, generators, problem.loss, depths[image.index], rounds, with_depth_residuals
        )
        cost += statistics.cost
        best[image.index] = statistics.depths
        matrix, scores = _assemble(
            statistics.moments,
            statistics.residual_moments,
            statistics.squares,
            statistics.intrinsics,
            statistics.gram,
            statistics.depth_residuals,
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
        slope = part.scores.sum(0)
        np.add.at(gradient, part.first, slope)
        np.add.at(gradient, part.second, slope)
        parts.append(part)
    gradient = gradient[:-1]
    if problem.penalty is not None:
        cost += problem.penalty.add(placement, unknowns, gradient, diagonal)
    return Equations(cost=cost, depths=tuple(best), gradient=gradient, parts=tuple(parts), diagonal=diagonal)


@compiled
@no_type_check
def _assemble(
    moments,
    residual_moments,
    squares,
    intrinsics,
    gram,
    depth_residuals,
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
    num, others, num_intrinsics = len(moments), len(moments) - num_own, len(generators)
    width, num_scores = (1 if tied else 7), max(len(depth_residuals), 1)
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
        residual, last = residual_moments[k], columns[scale_rows[k]]
        along = squares[k] - residual[0, 0] - residual[1, 1] - residual[2, 2]
        for m in range(num_intrinsics):
            value = 0.0
            for a in range(3):
                for b in range(3):
                    value += generators[m, a, b] * residual[a, b]
            system[end + m, score] += value
        system[last, score] += along
        if tied and k < num_own:
            continue
        turn, move, sums = last - 6, last - 3, moments[k]
        trace = sums[OUTER_OF[0, 0]] + sums[OUTER_OF[1, 1]] + sums[OUTER_OF[2, 2]]
        for a in range(3):
            b, c = (a + 1) % 3, (a + 2) % 3
            system[turn + a, score] += residual[b, c] - residual[c, b]
            system[move + a, score] -= residual[a, 3]
            system[turn + a, turn + a] += trace
            system[move + a, move + a] += sums[WEIGHT]
            for f in range(3):
                system[turn + a, turn + f] -= sums[OUTER_OF[a, f]]
            system[turn + c, move + b] += sums[POINT + a]
            system[turn + b, move + c] -= sums[POINT + a]
            system[move + b, turn + c] += sums[POINT + a]
            system[move + c, turn + b] -= sums[POINT + a]
            for m in range(num_intrinsics):
                start = INTRINSICS + PER_INTRINSIC * m + a
                across, around = sums[start + ACROSS], sums[start + AROUND]
                system[move + a, end + m] -= across
                system[end + m, move + a] -= across
                system[turn + a, end + m] -= around
                system[end + m, turn + a] -= around
    for k in range(len(depth_residuals)):
        for a in range(len(gram)):
            system[columns[a], size + k] += depth_residuals[k, a]

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
