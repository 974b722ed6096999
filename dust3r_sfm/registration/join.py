"""Two parts made one: a similarity between matched keypoints' points, and an adjustment of both together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.geometry.transforms import apply
from dust3r_sfm.refinement.adjust import AdjustmentMask
from dust3r_sfm.registration.link import Link
from dust3r_sfm.registration.merge import merged
from dust3r_sfm.registration.part import KnownPoints, Part
from dust3r_sfm.registration.photographs import Tools
from dust3r_sfm.types import Edge, Matches

_NUM_PAIRS = 20
"""Pairs of photographs of two parts that are matched, those that are most like each other; chosen by hand."""

_MAX_COMPARED = 100
"""Photographs of each part that are asked how much they are alike; chosen by hand."""

_SAME_POINT_OF_DEPTH = 0.05
"""How far apart two points may be that are one, over their usual depth; chosen by hand."""

_MAX_ERROR_NETWORK_PX = 4.0
"""How far the point of one part may be from the matching pixel of the other; chosen by hand."""

_LAST_NETWORK_PX = 1.5
"""Reprojection error of an observation in the end; that of the refinement."""

_MIN_INLIERS, _MIN_PAIRS = 30, 2
"""Matches that must agree on how two parts lie, and pairs of photographs that they must come from: between two alone
may stand the twin of what they show; chosen by hand."""

_MIN_INLIERS_OF_PAIR, _MIN_SHARE_OF_MATCHES = 6, 0.25
"""A pair speaks for a similarity with so many inliers, and such a share of its matches; chosen by hand."""

_CLEAR_MATCHES, _MAX_AGAINST = 40, 0.5
"""A pair with more matches speaks against a similarity that it does not fit; such matches may be half as many as those
for it (see `absolute`); chosen by hand."""

_NUM_TRIALS = 10_000
"""Samples of the RANSAC at most; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Across:
    """Matches between two parts, with the points of both ends.

    Attributes:
        pairs: matches; first images are of the one part, second ones of the other.
        pair_of: position of the pair of each match that has both points (m,).
        points1, points2: their points in the two worlds (m, 3).
        xy1, xy2: their raw pixels (m, 2).
    """

    pairs: Sequence[Matches]
    pair_of: Int64[np.ndarray, " m"]
    points1: Float64[np.ndarray, "m 3"]
    points2: Float64[np.ndarray, "m 3"]
    xy1: Float64[np.ndarray, "m 2"]
    xy2: Float64[np.ndarray, "m 2"]

    @staticmethod
    def of(first: Part, second: Part, pairs: Sequence[Matches]) -> "Across":
        """Look up the points of both ends of matches."""
        nothing = np.zeros((0, 3))
        points1 = np.concatenate([nothing, *(first.points.at(pair.image1, pair.xy1)[0] for pair in pairs)])
        points2 = np.concatenate([nothing, *(second.points.at(pair.image2, pair.xy2)[0] for pair in pairs)])
        known = np.isfinite(points1).all(axis=1) & np.isfinite(points2).all(axis=1)
        return Across(
            pairs=pairs,
            pair_of=np.repeat(np.arange(len(pairs)), [len(pair.xy1) for pair in pairs])[known],
            points1=points1[known],
            points2=points2[known],
            xy1=np.concatenate([nothing[:, :2], *(pair.xy1 for pair in pairs)])[known],
            xy2=np.concatenate([nothing[:, :2], *(pair.xy2 for pair in pairs)])[known],
        )

    def agreeing(
        self, first: Part, second: Part, first_from_second: Float64[np.ndarray, "4 4"]
    ) -> Bool[np.ndarray, " m"]:
        """The matches whose points each part sees where the other one's pixel says."""
        moved = apply(first_from_second, self.points2)
        back = apply(np.linalg.inv(first_from_second), self.points1)
        there = self._errors(first, [pair.image1 for pair in self.pairs], moved, self.xy1)
        here = self._errors(second, [pair.image2 for pair in self.pairs], back, self.xy2)
        return np.asarray(np.maximum(there, here) <= _MAX_ERROR_NETWORK_PX)

    def _errors(
        self, part: Part, images: Sequence[int], points: Float64[np.ndarray, "m 3"], xy: Float64[np.ndarray, "m 2"]
    ) -> Float64[np.ndarray, " m"]:
        """Reprojection errors in network pixels; infinite behind the camera."""
        cameras, errors = part.state.cameras, np.full(len(xy), np.inf)
        for position, image in enumerate(images):
            rows = np.flatnonzero(self.pair_of == position)
            seen = apply(cameras.cam_from_world[image], points[rows])
            front = seen[:, 2] > 0
            matrix = cameras.matrices[image]
            plane = seen[front, :2] / seen[front, 2:] * matrix[(0, 1), (0, 1)] + matrix[:2, 2]
            distance = np.linalg.norm(plane - cameras.undistort(image, xy[rows[front]]), axis=1)
            errors[rows[front]] = distance / part.refinement.depths.raw_per_network[image]
        return errors


def join(first: Part, second: Part, tools: Tools) -> Part | Link | None:
    """Join two parts, where enough of what is matched between them agrees on how they lie.

    Returns:
        Both as one, in the frame of the first; or the best link where they stay apart, None where nothing matches.
    """
    if second.scene.known_poses.any():
        return None  # they stay where the user says
    across = Across.of(first, second, _pairs(first, second, tools))
    if not len(across.pairs):
        return None
    similarity = _similarity(first, across, tools.seed)
    agreeing = np.zeros(len(across.pair_of), bool)
    if similarity is not None:
        agreeing = across.agreeing(first, second, similarity)
    counts, known = (
        np.bincount(rows, minlength=len(across.pairs)) for rows in (across.pair_of[agreeing], across.pair_of)
    )
    share = counts / np.maximum(known, 1)
    supports = (counts >= _MIN_INLIERS_OF_PAIR) & (share >= _MIN_SHARE_OF_MATCHES)
    against = known[(known >= _CLEAR_MATCHES) & (share < _MIN_SHARE_OF_MATCHES)].sum()
    total, best = int(counts[supports].sum()), int(counts.argmax())
    link = Link(
        image1=across.pairs[best].image2,
        image2=across.pairs[best].image1,
        num_agreeing=total or int(counts[best]),
        num_needed=_MIN_INLIERS,
    )
    if similarity is None or total < _MIN_INLIERS:
        return link
    if supports.sum() < _MIN_PAIRS:
        return replace(link, why="no second pair confirms them")
    if against > _MAX_AGAINST * total:
        return replace(link, why=f"{against} others contradict them")
    supporting = [pair for pair, is_for in zip(across.pairs, supports, strict=True) if is_for]
    joined = _adjusted(merged(first, second, similarity, supporting))
    held = _num_common(joined, first, second)
    if held < _MIN_INLIERS:
        return replace(link, num_agreeing=held, why="their points cannot be triangulated")
    return joined


def _pairs(first: Part, second: Part, tools: Tools) -> list[Matches]:
    """The matches of the pairs that are most alike."""
    images1, images2 = (_some(part.images) for part in (first, second))
    likeness = np.array([tools.match.likeness(image, images2) for image in images1])
    best = np.argsort(-likeness.ravel(), kind="stable")[:_NUM_PAIRS]
    pairs: list[Edge] = [
        (images1[row], images2[column]) for row, column in zip(*np.unravel_index(best, likeness.shape), strict=True)
    ]
    tools.match.look(pairs)
    return [matches for pair in pairs if len((matches := tools.match(*pair)).xy1)]


def _some(images: Sequence[int]) -> Sequence[int]:
    """At most so many images, evenly spaced."""
    rows = np.linspace(0, len(images) - 1, min(len(images), _MAX_COMPARED)).astype(np.int64)
    return [images[row] for row in rows]


def _similarity(first: Part, across: Across, seed: int) -> Float64[np.ndarray, "4 4"] | None:
    """The similarity first_from_second that most matched points agree on (pycolmap's LO-RANSAC)."""
    from dust3r_sfm.system._pycolmap import pycolmap

    if len(across.pair_of) < _MIN_INLIERS_OF_PAIR:
        return None
    image_of = np.array([pair.image1 for pair in across.pairs])[across.pair_of]
    poses = first.state.cameras.cam_from_world[image_of]
    depth = np.einsum("mj,mj->m", poses[:, 2, :3], across.points1) + poses[:, 2, 3]
    options = pycolmap.RANSACOptions(
        max_error=_SAME_POINT_OF_DEPTH * float(np.median(depth)), random_seed=seed, max_num_trials=_NUM_TRIALS
    )
    found = pycolmap.estimate_sim3d_robust(across.points2, across.points1, options)
    if found is None:
        return None
    # pycolmap's own types differ from what it returns: the transform beside the inliers.
    solution: Any = found["tgt_from_src"]  # type: ignore[index]
    return np.vstack([solution.matrix(), [0.0, 0.0, 0.0, 1.0]])


def _adjusted(part: Part) -> Part:
    """Both adjusted together: at first to what the similarity may miss by, in the end to what refining allows."""
    mask, matches = AdjustmentMask.of(part.scene), part.refinement.matches
    state = part.state.adjusted(matches, _MAX_ERROR_NETWORK_PX, mask)
    return part.refined(state.until_converged(matches, _LAST_NETWORK_PX, mask), matches)


def _num_common(joined: Part, first: Part, second: Part) -> int:
    """Number of triangulated points that images of both parts see."""
    tracks = KnownPoints.of(joined.state, joined.refinement.matches).tracks
    seen = [
        np.bincount(tracks.track_of[np.isin(tracks.image_of, part.images)], minlength=len(tracks.xyz)) > 0
        for part in (first, second)
    ]
    return int((seen[0] & seen[1]).sum())
