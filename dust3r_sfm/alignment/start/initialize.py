"""From pairs to a first placement of all cameras that a third of wrong pairs cannot spoil.

Rotations, then sizes, then positions, each averaged over the graph from trees of trusted pairs; between these steps
pairs lose trust whose rotations, depths or positions do not close with those of the others.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.robust import redescend
from dust3r_sfm.alignment.samples import Samples
from dust3r_sfm.alignment.start.cycles import edge_cycles
from dust3r_sfm.alignment.start.graph import solve_laplacian, spanning_tree, support, triangles
from dust3r_sfm.alignment.start.pairwise import RelativePoses
from dust3r_sfm.alignment.start.scales import edge_log_scales, link_depths
from dust3r_sfm.geometry.transforms import rotation_angle, rotation_exp
from dust3r_sfm.system.compiled import compiled

_NUM_STARTS = 16
"""Trees that an average is started from; chosen by hand."""
_LOOP_DEGREES = 4.0
"""By how much the rotations of a good triangle may miss each other; chosen by hand."""
_LOOP_GAP_OF_SIDES = 0.08
"""Gap of the positions of a good triangle over the sum of its sides; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """A first placement, the trust in each edge, 0 to 1, and how its pair misses its triangles (see `edge_cycles`)."""

    placement: Placement
    trust: Float64[np.ndarray, " e"]
    cycles: Float64[np.ndarray, "e 3"]


def initialize(
    samples: Samples, pairs: RelativePoses, focals: Float64[np.ndarray, " n"], rng: np.random.Generator
) -> Start:
    """Place all cameras of a connected graph.

    Args:
        samples: sampled predictions.
        pairs: relative poses of the pairs of `samples.edges`.
        focals: focal lengths.
        rng: source of the random trees.
    """
    num_images = len(samples.images)
    loops = triangles(num_images, pairs.images, rng)
    links = link_depths(samples, pairs)
    prior = pairs.qualities / max(float(pairs.qualities.max()), 1e-300) * _pair_depth_trust(pairs, links.proportional)

    first, second, across = loops.T
    turn = pairs.rotations[first] @ pairs.rotations[second] @ np.swapaxes(pairs.rotations[across], -1, -2)
    trust = support(loops, redescend(rotation_angle(turn), _LOOP_DEGREES), prior)
    rotations = _from_best_tree(num_images, pairs, trust, prior, rng)
    trust = trust * redescend(_rotation_misses(pairs, rotations), _LOOP_DEGREES)

    log_scales = edge_log_scales(pairs, links, num_images, trust)
    steps = _baselines(pairs, rotations, log_scales)
    lengths = np.linalg.norm(steps, axis=1)
    gap = np.linalg.norm(steps[first] + steps[second] - steps[across], axis=1)
    sides = lengths[first] + lengths[second] + lengths[across]
    before = trust
    trust = support(loops, redescend(gap / np.maximum(sides, 1e-12), _LOOP_GAP_OF_SIDES), before)
    centres = average_positions(num_images, pairs, steps, trust, before, rng)

    sources = samples.edges[:, 0]
    edge_trust = np.zeros(len(samples.edges))
    for side in (0, 1):
        present = pairs.edges[:, side] >= 0
        edge_trust[pairs.edges[present, side]] = trust[present]
    cycles = edge_cycles(len(samples.edges), pairs, steps, loops)
    placement = Placement(
        rotations=rotations,
        centres=centres,
        focals=focals,
        principal=np.zeros((num_images, 2)),
        edge_rotations=rotations[sources],
        edge_centres=centres[sources],
        log_scales=log_scales,
    )
    return Start(placement=placement, trust=edge_trust, cycles=cycles)


def _pair_depth_trust(pairs: RelativePoses, proportional: Float64[np.ndarray, "e 2"]) -> Float64[np.ndarray, " p"]:
    """Join the proportionality of the depth maps at both images of each pair."""
    there, back = pairs.edges[:, 0], pairs.edges[:, 1]
    first = np.where(there >= 0, proportional[there, 0], proportional[back, 1])
    second = np.where(back >= 0, proportional[back, 0], proportional[there, 1])
    return np.asarray(first * second)


def _from_best_tree(
    num_images: int,
    pairs: RelativePoses,
    trust: Float64[np.ndarray, " p"],
    prior: Float64[np.ndarray, " p"],
    rng: np.random.Generator,
) -> Float64[np.ndarray, "n 3 3"]:
    """Average the rotations from several trees and keep the result that most of the pairs agree with."""
    doubt = _doubts(len(trust), rng)
    starts = np.stack([_along_tree(num_images, pairs, trust * d) for d in doubt])
    rotations = average_rotations(starts, pairs, trust)
    scores = redescend(_rotation_misses(pairs, rotations), _LOOP_DEGREES) @ prior
    return np.asarray(rotations[_best(scores)])


def _doubts(num_pairs: int, rng: np.random.Generator) -> Float64[np.ndarray, "k p"]:
    """Return factors that make different pairs doubtful in each start; the first start doubts none."""
    return np.concatenate([np.ones((1, num_pairs)), np.exp(rng.normal(size=(_NUM_STARTS - 1, num_pairs)))])


def _best(scores: Float64[np.ndarray, " k"]) -> int:
    """Return the best start, the first of those that are as good."""
    return int(np.argmax(scores >= scores.max() * (1 - 1e-6)))


def _along_tree(
    num_images: int, pairs: RelativePoses, trust: Float64[np.ndarray, " p"]
) -> Float64[np.ndarray, "n 3 3"]:
    rotations = np.tile(np.eye(3), (num_images, 1, 1))
    for parent, child, pair in spanning_tree(num_images, pairs.images, trust):
        relative = pairs.rotations[pair]
        rotations[child] = rotations[parent] @ (relative if parent < child else relative.T)
    return rotations


def _rotation_misses(pairs: RelativePoses, rotations: Float64[np.ndarray, "*k n 3 3"]) -> Float64[np.ndarray, "*k p"]:
    """Return by how many degrees each pair's rotation misses that of the cameras."""
    miss = _misses(rotations.reshape(-1, *rotations.shape[-3:]), pairs.images, pairs.rotations)
    return np.asarray(np.degrees(np.linalg.norm(miss, axis=2)).reshape(*rotations.shape[:-3], len(pairs.images)))


@compiled
@no_type_check
def _misses(rotations, images, relative):
    """Return the rotation vectors that take each pair's second camera from where the first one puts it (k, p, 3)."""
    found, turn, quaternion = np.empty((len(rotations), len(images), 3)), np.empty((3, 3)), np.empty(4)
    for k in range(len(rotations)):
        for p in range(len(images)):
            first, second = rotations[k, images[p, 0]], rotations[k, images[p, 1]]
            for a in range(3):
                for b in range(3):
                    value = 0.0
                    for c in range(3):
                        for d in range(3):
                            value += second[a, c] * first[b, d] * relative[p, d, c]
                    turn[a, b] = value
            # By the largest of the quaternion's numbers, so that half turns are no exception (Shepperd 1978).
            trace, axis = turn[0, 0] + turn[1, 1] + turn[2, 2], 3
            for a in range(3):
                if turn[a, a] > max(trace, turn[axis, axis] if axis < 3 else trace):
                    axis = a
            if axis == 3:
                quaternion[3] = 1 + trace
                for a in range(3):
                    b, c = (a + 1) % 3, (a + 2) % 3
                    quaternion[a] = turn[c, b] - turn[b, c]
            else:
                b, c = (axis + 1) % 3, (axis + 2) % 3
                quaternion[axis] = 1 + 2 * turn[axis, axis] - trace
                quaternion[b] = turn[axis, b] + turn[b, axis]
                quaternion[c] = turn[axis, c] + turn[c, axis]
                quaternion[3] = turn[c, b] - turn[b, c]
            sine = np.sqrt(quaternion[0] ** 2 + quaternion[1] ** 2 + quaternion[2] ** 2)
            sign = 1.0 if quaternion[3] >= 0 else -1.0
            angle = 2 * np.arctan2(sine, sign * quaternion[3])
            factor = sign * angle / sine if sine > 0 else 0.0
            for a in range(3):
                found[k, p, a] = factor * quaternion[a]
    return found


def average_rotations(
    rotations: Float64[np.ndarray, "k n 3 3"], pairs: RelativePoses, trust: Float64[np.ndarray, " p"]
) -> Float64[np.ndarray, "k n 3 3"]:
    """Refine rotations (world from camera) by iteratively reweighted averaging over all pairs, L1 then redescending.

    Several starts are refined at once.
    """
    num_images = rotations.shape[1]
    first, second = pairs.images.T
    for step in range(20):
        miss = _misses(rotations, pairs.images, pairs.rotations)
        angle = np.degrees(np.linalg.norm(miss, axis=2))
        weights = trust * (1 / (angle + 0.3) if step < 8 else redescend(angle, max(3.0, 18.0 - step)))
        turn = solve_laplacian(num_images, first, second, -miss, weights)
        rotations = rotation_exp(turn) @ rotations
        if step > 10 and np.abs(turn).max() < 1e-9:
            break
    return rotations


def _baselines(
    pairs: RelativePoses, rotations: Float64[np.ndarray, "n 3 3"], log_scales: Float64[np.ndarray, " e"]
) -> Float64[np.ndarray, "p 3"]:
    """Return centre of j minus centre of i for each pair, in the world: the mean over its directions."""
    total, count = np.zeros((len(pairs.images), 3)), np.zeros(len(pairs.images))
    for side, sign in ((0, 1.0), (1, -1.0)):
        edge = pairs.edges[:, side]
        present = edge >= 0
        scale = sign * np.exp(log_scales[edge])
        step = np.einsum("pij,pj->pi", rotations[pairs.images[:, side]], pairs.centres[:, side])
        total += np.where(present[:, None], scale[:, None] * step, 0)
        count += present
    return np.asarray(total / count[:, None])


def average_positions(
    num_images: int,
    pairs: RelativePoses,
    steps: Float64[np.ndarray, "p 3"],
    trust: Float64[np.ndarray, " p"],
    prior: Float64[np.ndarray, " p"],
    rng: np.random.Generator,
) -> Float64[np.ndarray, "n 3"]:
    """Find camera centres from the baselines of the pairs by reweighting, L1 then redescending.

    As with rotations, several starts that doubt random pairs are tried, and the one that most pairs agree with wins.
    """
    first, second = pairs.images.T
    lengths = np.linalg.norm(steps, axis=1)
    # A baseline is wrong by a share of its length; the floor keeps pairs without one from outweighing all others.
    usual = 0.1 * np.maximum(lengths, 0.1 * float(np.median(lengths))) + 1e-12
    doubt = _doubts(len(trust), rng)
    weights = trust * doubt / usual**2
    for step in range(30):
        centres = solve_laplacian(
            num_images, first, second, np.broadcast_to(steps, (len(doubt), *steps.shape)), weights
        )
        miss = np.linalg.norm(centres[:, second] - centres[:, first] - steps, axis=2) / usual
        robust = doubt / (miss + 0.05) if step < 15 else redescend(miss, max(1.0, 3.0 - 0.2 * (step - 15)))
        weights = trust * robust / usual**2
    return np.asarray(centres[_best(redescend(miss, 1.0) @ prior)])
