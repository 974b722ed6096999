"""A query photograph against a model."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.types.photographs import KnownCamera


@dataclass(frozen=True, kw_only=True)
class Localization:
    """Where a query photograph was taken, or why that is not known: failure is a value.

    Attributes:
        name: of the query.
        cam_from_world: pose of the raw camera (EXIF orientation not applied) in the map's world; None: not known.
        reason: why there is no pose, one sentence; empty where there is one.
        camera: what the query was taken with, as given or as found; None where that is not known either.
        num_matches, num_inliers: correspondences between the query and points of the map, and those that agree.
        confidence: 0 to 1; near 0 for a photograph of another place.
        covariance: of (rotation vector, translation) of `cam_from_world` for errors of one pixel, (6, 6), or None.
        retrieved: names of the map's images that the query was compared with, best first.
        nearest: pose of the first of them, a guess for whoever needs one for every query.
    """

    name: str
    cam_from_world: Float64[np.ndarray, "3 4"] | None = None
    reason: str = ""
    camera: KnownCamera | None = None
    num_matches: int = 0
    num_inliers: int = 0
    confidence: float = 0.0
    covariance: Float64[np.ndarray, "6 6"] | None = None
    retrieved: tuple[str, ...] = ()
    nearest: Float64[np.ndarray, "3 4"] | None = None
