"""Which hypothesis of each pair the whole set believes: relative rotations and directions must close around triplets.

A pair alone cannot tell the two poses that explain a plane, nor a repeated facade from the true one; three images can,
because three correct relative poses close. Every hypothesis collects the belief of the triplets that it closes and of
those that it breaks, and beliefs are updated until they settle (in the spirit of Zach, Klopschitz, Pollefeys,
"Disambiguating visual relations using loop constraints", CVPR 2010).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.predictors.classical.pose import PosedPair
from dust3r_sfm.types import Edge

_MAX_HYPOTHESES = 3
"""Hypotheses of a pair that take part. Chosen by hand."""

_CLOSING_DEGREES = 4.0
"""Rotation around a triplet (degrees) at which it counts as half closed; a wide pair is good to about 2 degrees. Chosen
by hand."""

_COPLANAR_DEGREES = 10.0
"""Angle by which the three directions of a triplet may leave a plane (degrees) at which it counts as half closed.
Chosen by hand."""

_MAX_TRIPLETS = 40_000
"""Triplets that are looked at; more are sampled. Chosen by hand."""

_NUM_ROUNDS = 20
"""Rounds in which pairs and triplets weigh each other. Chosen by hand."""

_HALF_BELIEF_INLIERS = 45
"""Inliers at which a pair alone is believed by half: with `MIN_BELIEF`, 30 inliers suffice where no triplet judges.
Chosen by hand."""

_PRIOR_TRIPLETS = 0.5
"""A pair's own belief counts as much as this many fully believed triplets. Chosen by hand."""

MIN_BELIEF = 0.4
"""A hypothesis less believed than this is dropped. Chosen by hand."""

_LOUD_INLIERS = 100
"""Inliers with which a pair is heard all the same: of photographs without repeated structure, triplets hardly ever
contradict a pair with so many; of a folded building, pairs with several hundred. Chosen by hand."""

Hypotheses = Mapping[Edge, list[PosedPair]]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Attributes:
    index: which of the pair's hypotheses is believed most.
    belief: how much, 0 to 1.
    is_kept: whether to go on with it: it is believed, or so many matches speak for it that the alignment must know,
        which warns of a folded scene where such pairs contradict it.
    """

    index: int
    belief: float
    is_kept: bool


def choose(hypotheses: Hypotheses, seed: int) -> dict[Edge, Choice]:
    """Choose one hypothesis for every pair that has any, by the agreement of triplets of images.

    A pair in no triplet keeps its own best hypothesis, with the belief that its inliers earn.
    """
    edges = sorted(edge for edge, found in hypotheses.items() if found)
    triplets = _triplets(edges, seed)
    poses = np.tile(np.eye(3, 4), (len(edges), _MAX_HYPOTHESES, 1, 1))
    prior = np.zeros((len(edges), _MAX_HYPOTHESES))
    judged = set(triplets.ravel().tolist())
    for row, edge in enumerate(edges):
        candidates = hypotheses[edge][:_MAX_HYPOTHESES]
        poses[row, : len(candidates)] = [each.cam2_from_cam1 for each in candidates]
        shares = np.array([each.score for each in candidates]) ** 2
        prior[row, : len(candidates)] = candidates[0].num_inliers / (candidates[0].num_inliers + _HALF_BELIEF_INLIERS)
        if row in judged:
            prior[row, : len(candidates)] *= shares / shares.sum()
    belief = prior
    closing = _closing(poses, triplets)
    for _ in range(_NUM_ROUNDS):
        belief = _update(belief, prior, triplets, closing)
    best = belief.argmax(axis=1)
    return {
        edge: Choice(
            index=int(index),
            belief=float(belief[row, index]),
            is_kept=bool(belief[row, index] > MIN_BELIEF) or hypotheses[edge][index].num_inliers >= _LOUD_INLIERS,
        )
        for row, (edge, index) in enumerate(zip(edges, best, strict=True))
    }


def _triplets(edges: list[Edge], seed: int) -> Int64[np.ndarray, "t 3"]:
    """Rows (ij, jk, ik) of the edges of all triangles i < j < k, or of a random part when they are too many."""
    row_of = {edge: row for row, edge in enumerate(edges)}
    after: dict[int, set[int]] = {}
    for i, j in edges:
        after.setdefault(i, set()).add(j)
    found = [
        (row, row_of[j, k], row_of[i, k])
        for row, (i, j) in enumerate(edges)
        for k in sorted(after[i] & after.get(j, set()))
    ]
    triplets = np.array(found, np.int64).reshape(-1, 3)
    if len(triplets) > _MAX_TRIPLETS:
        chosen = np.random.default_rng(seed).choice(len(triplets), _MAX_TRIPLETS, replace=False)
        triplets = triplets[np.sort(chosen)]
    return triplets


def _closing(
    poses: Float64[np.ndarray, "e h 3 4"], triplets: Int64[np.ndarray, "t 3"]
) -> Float64[np.ndarray, "t h h h"]:
    """How well each combination of hypotheses closes a triplet, 0 to 1."""
    j_from_i = poses[triplets[:, 0], :, None, None]
    k_from_j = poses[triplets[:, 1], None, :, None]
    k_from_i = poses[triplets[:, 2], None, None, :]
    around = k_from_j[..., :3] @ j_from_i[..., :3]
    cosine = ((around * k_from_i[..., :3]).sum((-2, -1)) - 1) / 2
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    # In camera k's frame the three baselines lie in one plane: t_ik = R_jk t_ij + t_jk up to the three lengths.
    first = (k_from_j[..., :3] @ j_from_i[..., 3:])[..., 0]
    volume = np.abs((np.cross(first, k_from_j[..., 3]) * k_from_i[..., 3]).sum(-1))
    tilt = np.degrees(np.arcsin(np.clip(volume, 0, 1)))
    return np.asarray(1 / (1 + (angle / _CLOSING_DEGREES) ** 4) / (1 + (tilt / _COPLANAR_DEGREES) ** 4))


def _update(
    belief: Float64[np.ndarray, "e h"],
    prior: Float64[np.ndarray, "e h"],
    triplets: Int64[np.ndarray, "t 3"],
    closing: Float64[np.ndarray, "t h h h"],
) -> Float64[np.ndarray, "e h"]:
    """Belief of a hypothesis: what the two other edges of its triplets believe and it closes, over what they believe.

    Beliefs are squared, so that a few trusted triplets outweigh many doubtful ones.
    """
    support, total = _PRIOR_TRIPLETS * prior, np.full_like(prior, _PRIOR_TRIPLETS)
    a, b, c = (belief[triplets[:, side]] ** 2 for side in range(3))
    for side, others, agreed in (
        (0, b.sum(1) * c.sum(1), np.einsum("tabc,tb,tc->ta", closing, b, c)),
        (1, a.sum(1) * c.sum(1), np.einsum("tabc,ta,tc->tb", closing, a, c)),
        (2, a.sum(1) * b.sum(1), np.einsum("tabc,ta,tb->tc", closing, a, b)),
    ):
        np.add.at(support, triplets[:, side], agreed)
        np.add.at(total, triplets[:, side], others[:, None])
    return np.where(prior > 0, support / total, 0)
