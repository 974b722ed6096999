"""What is measured of the world beside the photographs: positions, gravity, surveyed points, a distance."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64


@dataclass(frozen=True, kw_only=True)
class ControlPoints:
    """Surveyed points, and where photographs show them.

    Attributes:
        names: of the points.
        xyz: their positions in metres (p, 3).
        point_of: point of each mark (o,).
        image_of: image of each mark (o,).
        xy: raw original pixels of each mark, COLMAP origin (o, 2).
    """

    names: tuple[str, ...]
    xyz: Float64[np.ndarray, "p 3"]
    point_of: Int64[np.ndarray, " o"]
    image_of: Int64[np.ndarray, " o"]
    xy: Float64[np.ndarray, "o 2"]


@dataclass(frozen=True, kw_only=True)
class Positions:
    """Measured positions of cameras.

    Attributes:
        xyz: metres; NaN where none is known (n, 3).
        sigmas: standard deviation of each coordinate in metres; NaN where none is known (n, 3).
    """

    xyz: Float64[np.ndarray, "n 3"]
    sigmas: Float64[np.ndarray, "n 3"]


@dataclass(frozen=True, kw_only=True)
class Priors:
    """What is measured, in one world with z up; None where nothing is.

    Attributes:
        positions: of the cameras.
        gravity: downward directions of length 1 in the frames of the upright cameras, NaN where unknown (n, 3).
        control: surveyed points.
        distance: two images and the metres between their cameras.
        origin: latitude and longitude in degrees and height in metres above the ellipsoid (WGS84) of the world's
            origin, where its axes are east, north and up; None where the world is a local one.
        offset: what was taken from given local coordinates, which are too large for single precision.
        upright: whether the world stands upright, so that an adjustment keeps it so.
    """

    positions: Positions | None = None
    gravity: Float64[np.ndarray, "n 3"] | None = None
    control: ControlPoints | None = None
    distance: tuple[int, int, float] | None = None
    origin: tuple[float, float, float] | None = None
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    upright: bool = False
