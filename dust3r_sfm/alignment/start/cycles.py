"""How well the estimates of single pairs close the triangles that the pairs are in."""

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.alignment.start.pairwise import RelativePoses
from dust3r_sfm.geometry.transforms import rotation_angle


def edge_cycles(
    num_edges: int, pairs: RelativePoses, steps: Float64[np.ndarray, "p 3"], loops: Int64[np.ndarray, "t 3"]
) -> Float64[np.ndarray, "e 3"]:
    """Return by how much each edge's pair misses its triangles, in the median over them.

    Args:
        num_edges: number of directed edges.
        pairs: relative poses of the pairs.
        steps: the pairs' own baselines, centre of j minus centre of i, in the world and in one unit.
        loops: pairs (i, j), (j, k), (i, k) of each triangle.

    Returns:
        Rotation and direction of the baseline in degrees and log of its length; NaN where there is no triangle. Both
        edges of a pair have the same.
    """
    first, second, across = loops.T
    turn = pairs.rotations[first] @ pairs.rotations[second] @ np.swapaxes(pairs.rotations[across], -1, -2)
    around, straight = steps[first] + steps[second], steps[across]
    lengths = np.linalg.norm(around, axis=1), np.linalg.norm(straight, axis=1)
    product = np.maximum(lengths[0] * lengths[1], 1e-300)
    direction = np.degrees(np.arccos(np.clip((around * straight).sum(1) / product, -1, 1)))
    # A pair without a baseline has no length to compare; 20 nepers say so and stay finite.
    ratio = np.log(np.maximum(lengths[0], 1e-300)) - np.log(np.maximum(lengths[1], 1e-300))
    errors = np.stack([rotation_angle(turn), direction, np.minimum(np.abs(ratio), 20.0)], axis=1)

    of_pairs = np.full((len(pairs.images), 3), np.nan)
    members, repeated = loops.T.ravel(), np.tile(errors, (3, 1))
    counts = np.bincount(members, minlength=len(of_pairs))
    starts = np.cumsum(counts) - counts
    present = counts > 0
    for column in range(3):
        ordered = repeated[np.lexsort((repeated[:, column], members)), column]
        of_pairs[present, column] = ordered[(starts + (counts - 1) // 2)[present]]
    cycles = np.full((num_edges, 3), np.nan)
    for side in (0, 1):
        edges = pairs.edges[:, side]
        cycles[edges[edges >= 0]] = of_pairs[edges >= 0]
    return cycles
