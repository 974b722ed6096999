"""Matches of two photographs anywhere in them, and the relative pose that explains them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.features.features import Features
from dust3r_sfm.features.verified import epipolar_inliers, loose_matches
from dust3r_sfm.registration.matcher import KeypointMatcher, PairMatcher
from dust3r_sfm.system.parallel import num_cores
from dust3r_sfm.system.progress import Step
from dust3r_sfm.tracks.cameras import PosedCameras
from dust3r_sfm.types import Edge, Matches

_MAX_ANYWHERE = 4_096
"""Keypoints of an image that are compared with all of another; as in the refinement."""

_MIN_INLIERS = 30
"""Matches that must agree on a relative pose; that of the classical predictor's pairs."""

_MAX_ERROR_RAW_PX = 4.0
"""Distance from the epipolar line (COLMAP's default)."""

_MIN_TRIALS, _MAX_TRIALS = 50, 500
"""Samples of the RANSAC at least and at most: of matches that one fundamental matrix explains already; chosen by
hand."""


@dataclass(frozen=True, kw_only=True)
class Relation:
    """How one camera stands to another.

    Attributes:
        matches: those that agree.
        cam2_from_cam1: relative pose; the translation has length 1.
    """

    matches: Matches
    cam2_from_cam1: Float64[np.ndarray, "3 4"]


class LooseMatcher:
    """A `PairMatcher` whose matches no epipolar geometry has been asked about yet: that is asked without the lens.

    Args:
        features: of every image.
    """

    def __init__(self, features: Sequence[Features]) -> None:
        self._telling = [_telling(one) for one in features]
        self._alike = KeypointMatcher(features)

    def __call__(self, image1: int, image2: int) -> Matches:
        """See `PairMatcher`."""
        first, second = self._telling[image1], self._telling[image2]
        rows, similarity = loose_matches(first, second)
        return Matches(
            image1=image1, image2=image2, xy1=first.xy[rows[:, 0]], xy2=second.xy[rows[:, 1]], confidence=similarity
        )

    def likeness(self, image: int, others: Sequence[int]) -> Float64[np.ndarray, " k"]:
        """See `PairMatcher`."""
        return self._alike.likeness(image, others)


def relate_pairs(
    pairs: Sequence[Edge], match: PairMatcher, cameras: PosedCameras, seed: int, step: Step
) -> list[Relation]:
    """Match pairs in threads, and keep those whose matches agree on a relative pose.

    Args:
        pairs: to match.
        match: finds matches anywhere in two photographs.
        cameras: the rough ones; their poses do not count.
        seed: of the sampling.
        step: called after each pair.
    """

    def relate(pair: Edge) -> Relation | None:
        return _related(match(*pair), cameras, seed + pair[0] * len(cameras.posed) + pair[1])

    found: list[Relation] = []
    with ThreadPoolExecutor(num_cores()) as pool:
        for done, relation in enumerate(pool.map(relate, pairs), start=1):
            if relation is not None:
                found.append(relation)
            step(done, len(pairs))
    return found


def _related(matches: Matches, cameras: PosedCameras, seed: int) -> Relation | None:
    from dust3r_sfm.system._pycolmap import pycolmap

    i, j = matches.image1, matches.image2
    xy1, xy2 = cameras.undistort(i, matches.xy1), cameras.undistort(j, matches.xy2)
    seen = np.isfinite(xy1).all(axis=1) & np.isfinite(xy2).all(axis=1)  # a lens may have no ray for a pixel
    kept = np.flatnonzero(seen)[epipolar_inliers(xy1[seen], xy2[seen], seed)]
    if len(kept) < _MIN_INLIERS:
        return None
    options = pycolmap.RANSACOptions(
        max_error=_MAX_ERROR_RAW_PX, random_seed=seed, min_num_trials=_MIN_TRIALS, max_num_trials=_MAX_TRIALS
    )
    found: Any = pycolmap.estimate_essential_matrix(
        xy1[kept], xy2[kept], _pinhole(cameras, i), _pinhole(cameras, j), options
    )
    if found is None or found["num_inliers"] < _MIN_INLIERS:
        return None
    agreeing = kept[np.asarray(found["inlier_mask"], bool)]
    return Relation(matches=matches.take(agreeing), cam2_from_cam1=np.asarray(found["cam2_from_cam1"].matrix()))


def _pinhole(cameras: PosedCameras, index: int) -> Any:
    from dust3r_sfm.system._pycolmap import pycolmap

    width, height = cameras.sizes[index].tolist()
    params = cameras.matrices[index][(0, 1, 0, 1), (0, 1, 2, 2)].tolist()
    return pycolmap.Camera(model="PINHOLE", width=width, height=height, params=params)


def _telling(features: Features) -> Features:
    """The keypoints with the highest scores, in their order; of equal ones the last, where COLMAP has coarse ones."""
    rows = np.sort(np.argsort(features.scores, kind="stable")[-_MAX_ANYWHERE:])
    return features.of(rows)
