"""Cameras that turned on the spot: without a change of place there is no depth, whatever a pair seems to say."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.predictors.classical.lens import Lens
from dust3r_sfm.predictors.classical.sampson import CalibratedMatches
from dust3r_sfm.types import Edge

_FOCAL_DOUBT = np.geomspace(0.6, 1.7, 121)
"""Focal lengths at which a turn is tested, over those of the lenses, in steps of 0.9 %: between two of them a turn of
18 degrees shows a spread of singular values of 0.003. Chosen by hand."""

_TURN_SPREAD = 2 * np.radians(0.5)
"""Spread of the singular values of a turn, at most: that of a baseline which gives a parallax of one degree. Chosen by
hand."""

_ALONG_TURNS_NETWORK_PX = 4.0
"""Distance up to which a match is where two turns, one after the other, take it. Chosen by hand."""

_ALONG_TURNS_OF_INLIERS = 0.9
"""Share of a pair's inliers that must be there. Chosen by hand."""


def is_turn(homography: Float64[np.ndarray, "3 3"], lens1: Lens, lens2: Lens) -> bool:
    """Whether a homography of rays is a rotation, at the lenses' focal lengths or (unless known) others like them.

    A wrong focal length would give a camera that only turned a parallax that it does not have.
    """
    doubt = np.ones(1) if lens1.is_known and lens2.is_known else _FOCAL_DOUBT
    calibrations = np.zeros((len(doubt), 3, 3))
    calibrations[:, 0, 0] = calibrations[:, 1, 1] = 1 / doubt
    calibrations[:, 2, 2] = 1
    values = np.linalg.svd(calibrations @ homography @ np.linalg.inv(calibrations), compute_uv=False)
    return bool(((values[:, 0] - values[:, 2]) / values[:, 1]).min() < _TURN_SPREAD)


def turned_besides(
    turns: Mapping[Edge, Float64[np.ndarray, "3 3"]],
    posed: Mapping[Edge, CalibratedMatches],
    lenses: Sequence[Lens],
) -> set[Edge]:
    """Find pairs that only turned, although their own matches leave a baseline open.

    Photographs that overlap in a strip alone tell a baseline badly from a wrong focal length. Where each of them only
    turned against a third one, the two turns, one after the other, say where its matches must be.

    Args:
        turns: homography of the rays of pairs (i < j) that only turned.
        posed: inliers of the pose of the other pairs.
        lenses: of each photograph.
    """
    known = dict(turns) | {edge[::-1]: np.linalg.inv(homography) for edge, homography in turns.items()}
    after: dict[int, set[int]] = {}
    for i, j in known:
        after.setdefault(i, set()).add(j)
    found: set[Edge] = set()
    is_open = True
    while is_open:
        is_open = False
        for i, j in sorted(set(posed) - found):
            for k in sorted(after.get(i, set()) & after.get(j, set())):
                homography = known[k, j] @ known[i, k]
                if is_turn(homography, lenses[i], lenses[j]) and _takes(homography, posed[i, j], lenses[i], lenses[j]):
                    found.add((i, j))
                    known |= {(i, j): homography, (j, i): np.linalg.inv(homography)}
                    after[i].add(j)
                    after[j].add(i)
                    is_open = True
                    break
    return found


def _takes(homography: Float64[np.ndarray, "3 3"], points: CalibratedMatches, lens1: Lens, lens2: Lens) -> bool:
    """Whether a homography of rays takes the matches to where they are."""
    homography = homography / homography[2, 2]
    pixels = lens2.matrix @ homography @ np.linalg.inv(lens1.matrix)
    ends = np.column_stack([lens1.undistort(points.xy1), np.ones(len(points))]) @ pixels.T
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.linalg.norm(ends[:, :2] / ends[:, 2:] - lens2.undistort(points.xy2), axis=1)
    is_there = (off < _ALONG_TURNS_NETWORK_PX) & (ends[:, 2] > 0)
    return bool(is_there.mean() > _ALONG_TURNS_OF_INLIERS)
