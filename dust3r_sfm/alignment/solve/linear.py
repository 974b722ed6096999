"""Steps from normal equations: a dense factorization for small systems, conjugate gradients for large ones."""

from collections.abc import Callable
from typing import no_type_check

import numpy as np
import scipy.linalg
from jaxtyping import Float64, Int64
from scipy.sparse import coo_array

from dust3r_sfm.alignment.solve.equations import Equations
from dust3r_sfm.alignment.solve.unknowns import Unknowns
from dust3r_sfm.alignment.start.graph import factorize
from dust3r_sfm.system.compiled import compiled

_MAX_NUM_DENSE = 600
"""Unknowns up to which a dense factorization is the fastest; chosen by hand."""
_TOLERANCE_OF_RESIDUAL, _MAX_NUM_ROUNDS = 1e-2, 100
"""Of conjugate gradients: share of the residual that may remain, and rounds; chosen by hand."""

Vector = Float64[np.ndarray, " u"]
Gauge = tuple[Vector, Vector]


def solve_step(equations: Equations, unknowns: Unknowns, gauge: Gauge | None, damping: float) -> Vector:
    """Return the damped Gauss-Newton step.

    Args:
        equations: normal equations.
        unknowns: what its columns are.
        gauge: (change of all unknowns when the world grows, the vector whose product with the step must be 0).
        damping: added to the diagonal of the system in units of its diagonal.
    """
    gradient = equations.gradient
    if gauge is not None:
        grow, mean = gauge
        gradient = gradient - mean * ((grow @ gradient) / (grow @ mean))
    diagonal = _diagonal(equations)
    # Where nothing is known the gradient is 0, and a unit diagonal does no harm.
    more = np.where(diagonal > 0, damping * diagonal, 1.0)
    shared = np.ones(unknowns.size, bool)
    shared[unknowns.edge_poses[unknowns.edge_poses >= 0]] = False
    inverse = _inverse(equations, shared, more)
    if shared.all():
        return -inverse(gradient)
    numbers = unknowns.edge_poses[unknowns.edge_poses[:, 0] >= 0]
    blocks = np.linalg.inv(_edge_blocks(equations, numbers) + more[numbers][:, :, None] * np.eye(6))

    def precondition(residual: Vector) -> Vector:
        result = np.empty_like(residual)
        result[shared] = inverse(residual[shared])
        result[numbers] = np.einsum("eij,ej->ei", blocks, residual[numbers])
        return result

    return _conjugate_gradients(matrix_product(equations, more), -gradient, precondition)


def inverse_of(equations: Equations, damping: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return the product with the inverse of a tied system, damped where nothing holds it."""
    diagonal = _diagonal(equations)
    return _inverse(equations, np.ones(len(diagonal), bool), np.where(diagonal > 0, damping * diagonal, 1.0))


def _diagonal(equations: Equations) -> Vector:
    diagonal = np.append(equations.diagonal, 0.0)
    for part in equations.parts:
        _add_diagonal(diagonal, part.first, part.second, part.matrix)
    return diagonal[:-1]


@compiled
@no_type_check
def _add_diagonal(diagonal, first, second, matrix):
    for k in range(len(first)):
        diagonal[first[k]] += matrix[k, k]
        diagonal[second[k]] += matrix[k, k]


@compiled
@no_type_check
def _add_block(matrix, place, block):
    for a in range(len(place)):
        for b in range(len(place)):
            matrix[place[a], place[b]] += block[a, b]


def _inverse(equations: Equations, which: np.ndarray, more: Vector) -> Callable[[Vector], Vector]:
    """Factorize the part of the damped system that belongs to some unknowns, of which each column has one at most."""
    size = int(which.sum())
    position = np.append(np.where(which, np.cumsum(which) - 1, size), size)
    places = [np.minimum(position[part.first], position[part.second]) for part in equations.parts]
    extra = (equations.diagonal + more)[which]
    if size <= _MAX_NUM_DENSE:
        # One more row and column takes what belongs to other unknowns and to known quantities.
        matrix = np.zeros((size + 1, size + 1))
        for place, part in zip(places, equations.parts, strict=True):
            _add_block(matrix, place, part.matrix)
        matrix = matrix[:-1, :-1]
        matrix[np.arange(size), np.arange(size)] += extra
        factor = scipy.linalg.cho_factor(matrix, overwrite_a=True, check_finite=False)
        return lambda right: np.asarray(scipy.linalg.cho_solve(factor, right, check_finite=False))
    rows = np.concatenate([np.repeat(place, len(place)) for place in places] + [np.arange(size)])
    columns = np.concatenate([np.tile(place, len(place)) for place in places] + [np.arange(size)])
    values = np.concatenate([part.matrix.ravel() for part in equations.parts] + [extra])
    kept = (rows < size) & (columns < size)
    sparse = coo_array((values[kept], (rows[kept], columns[kept])), shape=(size, size)).tocsc()
    factors = factorize(sparse)
    return lambda right: np.asarray(factors.solve(right))


def _edge_blocks(equations: Equations, numbers: Int64[np.ndarray, "e 6"]) -> Float64[np.ndarray, "e 6 6"]:
    """Return the blocks of the matrix that belong to single edges' poses."""
    blocks = equations.diagonal[numbers][:, :, None] * np.eye(6)
    first = int(numbers[0, 0])
    for part in equations.parts:
        starts = np.flatnonzero((part.first >= first) & ((part.first - first) % 6 == 0))
        columns = starts[:, None] + np.arange(6)
        np.add.at(blocks, (part.first[starts] - first) // 6, part.matrix[columns[:, :, None], columns[:, None, :]])
    return np.asarray(blocks)


def matrix_product(equations: Equations, more: Vector) -> Callable[[Vector], Vector]:
    """Return the product with the damped matrix."""
    first = np.concatenate([part.first for part in equations.parts])
    second = np.concatenate([part.second for part in equations.parts])
    ends = np.cumsum([len(part.first) for part in equations.parts])[:-1]
    size, diagonal = len(more), equations.diagonal + more

    def product(vector: Vector) -> Vector:
        padded = np.append(vector, 0.0)
        local = np.split(padded[first] + padded[second], ends)
        result = np.concatenate([part.matrix @ x for part, x in zip(equations.parts, local, strict=True)])
        # Known quantities are counted at -1 + 1 = 0 and cut off.
        total = np.bincount(first + 1, result, size + 1) + np.bincount(second + 1, result, size + 1)
        return np.asarray(total[1:] + diagonal * vector)

    return product


def _conjugate_gradients(
    product: Callable[[Vector], Vector], right: Vector, precondition: Callable[[Vector], Vector]
) -> Vector:
    solution, residual = np.zeros_like(right), right.copy()
    towards = precondition(residual)
    direction, power = towards, float(residual @ towards)
    goal = _TOLERANCE_OF_RESIDUAL**2 * power
    for _ in range(_MAX_NUM_ROUNDS):
        if power <= goal:
            break
        along = product(direction)
        length = power / float(direction @ along)
        solution += length * direction
        residual -= length * along
        towards = precondition(residual)
        before, power = power, float(residual @ towards)
        direction = towards + (power / before) * direction
    return solution
