"""The value types that flow through the package: read this page, know the package.

photos → `ImageSet` → `PairGraph` → `PairPrediction` → `Scene`, `Matches` → `Tracks` → `pycolmap.Reconstruction`; of one
pair alone a `RelativePose`, of a query against a model a `Localization`

All are frozen and built by keyword. Transforms are named `target_from_source`. Camera axes: x right, y down, z forward.
Pixel (0.5, 0.5) is the centre of the first pixel (COLMAP's convention). `size` is (width, height), `shape` is
(height, width). Poses are float64, pointmaps float32. See docs/conventions.md.
"""

from dust3r_sfm.types.localization import Localization
from dust3r_sfm.types.pairs import (
    GUESSED,
    NOTHING_KNOWN,
    Edge,
    Matches,
    PairGraph,
    PairPrediction,
    RelativePose,
    is_known,
)
from dust3r_sfm.types.photographs import Dropped, ImageSet, KnownCamera, Size, View
from dust3r_sfm.types.priors import ControlPoints, Positions, Priors
from dust3r_sfm.types.scene import Scene, Tracks

__all__ = [
    "GUESSED",
    "NOTHING_KNOWN",
    "ControlPoints",
    "Dropped",
    "Edge",
    "ImageSet",
    "KnownCamera",
    "Localization",
    "Matches",
    "PairGraph",
    "PairPrediction",
    "Positions",
    "Priors",
    "RelativePose",
    "Scene",
    "Size",
    "Tracks",
    "View",
    "is_known",
]
