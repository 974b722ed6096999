"""Matches that nobody guided, beside the cameras of a model."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64

from dust3r_sfm.features.features import Features
from dust3r_sfm.features.verified import verified_matches
from dust3r_sfm.geometry.epipolar import fundamental_matrix, sampson_error
from dust3r_sfm.system.parallel import map_ordered, num_cores
from dust3r_sfm.tracks.cameras import PosedCameras
from dust3r_sfm.types import Edge

_NUM_KEYPOINTS = 2_000
"""Keypoints of a photograph that are compared, those with the highest scores; chosen by hand."""

_MAX_NUM_PAIRS = 120
"""Pairs that are looked at, at most; chosen by hand: 20 milliseconds each."""

_MIN_VERIFIED = 40
"""Matches with which a pair is heard: fewer agree by chance at times; chosen by hand."""

_LIMIT_OF_SIDE = 0.004
"""Epipolar error up to which a match agrees, as a share of the longer side; chosen by hand: COLMAP's 4 pixels at
1000."""


@dataclass(frozen=True, kw_only=True)
class CheckedPair:
    """A pair of photographs with verified matches.

    Attributes:
        pair: their indices i < j.
        xy1, xy2: the matches, raw pixels (m, 2).
        errors: distance from the cameras' epipolar geometry, raw pixels (m,).
        free: from the best fundamental matrix of the pair's own (m,).
        side: the longer side of the photographs, raw pixels.
    """

    pair: Edge
    xy1: Float64[np.ndarray, "m 2"]
    xy2: Float64[np.ndarray, "m 2"]
    errors: Float64[np.ndarray, " m"]
    free: Float64[np.ndarray, " m"]
    side: float

    @property
    def limit(self) -> float:
        """Error up to which a match agrees, raw pixels."""
        return _LIMIT_OF_SIDE * self.side

    @property
    def agreeing(self) -> float:
        """Share of the matches that agree with the cameras."""
        return float((self.errors <= self.limit).mean())


def check_pairs(cameras: PosedCameras, features: Sequence[Features], seed: int) -> list[CheckedPair]:
    """Match posed photographs anywhere, and compare with the cameras.

    All pairs are looked at, or `_MAX_NUM_PAIRS` of them, evenly spread; those with few verified matches are left out.

    Args:
        cameras: of the model, by image index.
        features: of every image; no more than a few thousand of each are compared.
        seed: of the sampling.
    """
    posed = np.flatnonzero(cameras.posed).tolist()
    strongest = {image: _strongest(features[image]) for image in posed}
    pairs = [(i, j) for at, i in enumerate(posed) for j in posed[at + 1 :]]
    chosen = np.linspace(0, len(pairs) - 1, min(len(pairs), _MAX_NUM_PAIRS)).astype(int)

    def check(pair: Edge) -> CheckedPair | None:
        first, second = (strongest[image] for image in pair)
        rows, _ = verified_matches(first, second, seed)
        if len(rows) < _MIN_VERIFIED:
            return None
        return _checked(cameras, pair, first.xy[rows[:, 0]], second.xy[rows[:, 1]])

    found = map_ordered(check, [pairs[index] for index in chosen], num_cores(0))
    return [each for each in found if each is not None]


def _checked(
    cameras: PosedCameras, pair: Edge, xy1: Float64[np.ndarray, "m 2"], xy2: Float64[np.ndarray, "m 2"]
) -> CheckedPair | None:
    i, j = pair
    straight1, straight2 = cameras.undistort(i, xy1), cameras.undistort(j, xy2)
    seen = np.isfinite(straight1).all(1) & np.isfinite(straight2).all(1)
    xy1, xy2, straight1, straight2 = xy1[seen], xy2[seen], straight1[seen], straight2[seen]
    if len(xy1) < _MIN_VERIFIED:
        return None
    fundamental = fundamental_matrix(cameras.relative(i, j), cameras.matrices[i], cameras.matrices[j])
    free, _ = cv2.findFundamentalMat(straight1, straight2, cv2.FM_8POINT)
    if free is None or free.shape != (3, 3):
        return None
    return CheckedPair(
        pair=pair,
        xy1=xy1,
        xy2=xy2,
        errors=sampson_error(fundamental, straight1, straight2),
        free=sampson_error(free, straight1, straight2),
        side=float(max(cameras.sizes[i].max(), cameras.sizes[j].max())),
    )


def _strongest(features: Features) -> Features:
    if len(features.xy) <= _NUM_KEYPOINTS:
        return features
    return features.of(np.sort(np.argsort(features.scores, kind="stable")[-_NUM_KEYPOINTS:]))
