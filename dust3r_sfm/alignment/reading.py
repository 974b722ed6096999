"""Reading only what is needed of a prediction: the pointmaps in question, and of these the pixels in question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Float32, Integer

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.predictors.store import PredictionStore
from dust3r_sfm.system.compiled import compiled
from dust3r_sfm.types import GUESSED, NOTHING_KNOWN, Edge, ImageSet, PairPrediction

NOTHING = np.float32(NOTHING_KNOWN)
"""`types.NOTHING_KNOWN` for the kernels, which compute in single precision."""
GUESS = np.float32(GUESSED) - NOTHING
"""How far the confidence of a guess is above that at most."""
_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True, kw_only=True)
class StoredPointmap:
    """One of the two pointmaps of an edge, as it is stored: maybe in half precision, and over a common scale."""

    points: Float[np.ndarray, "h w 3"]
    confidence: Float[np.ndarray, "h w"]
    scale: float

    def take(
        self, pixels: Integer[np.ndarray, " p"] | None = None
    ) -> tuple[Float32[np.ndarray, "p 3"], Float32[np.ndarray, " p"]]:
        """Return the points and confidences of some pixels, counted row by row, or of all, in single precision."""
        points, confidence = self.points.reshape(-1, 3), self.confidence.reshape(-1)
        if pixels is not None:
            points, confidence = points.take(pixels, axis=0), confidence.take(pixels)
        points = np.ascontiguousarray(points, np.float32)
        if self.scale != 1:
            points = points * np.float32(self.scale)
        return points, np.ascontiguousarray(confidence, np.float32)


@compiled
@no_type_check
def is_usable(x, y, z, sure):
    """Say whether a point is finite, and its confidence, less that of nothing known, positive and finite."""
    return 0 < sure < _LARGEST and abs(x) < _LARGEST and abs(y) < _LARGEST and abs(z) < _LARGEST


def read_pointmaps(
    images: ImageSet, predictions: Mapping[Edge, PairPrediction], edge: Edge, roles: Sequence[int] = (0, 1)
) -> list[StoredPointmap]:
    """Read pointmaps of an edge: role 0 is that of its first image, role 1 that of its second.

    Raises:
        PredictorError: a pointmap does not have the size of its image.
        InputError: the store is damaged.
    """
    if isinstance(predictions, PredictionStore):
        found = [StoredPointmap(points=p, confidence=c, scale=s) for p, c, s in predictions.stored(edge, roles)]
    else:
        prediction = predictions[edge]
        maps = ((prediction.points1, prediction.confidence1), (prediction.points2, prediction.confidence2))
        found = [StoredPointmap(points=maps[role][0], confidence=maps[role][1], scale=1.0) for role in roles]
    for role, pointmap in zip(roles, found, strict=True):
        view, shape = images.views[edge[role]], pointmap.points.shape
        if shape[1::-1] != view.network_size:
            raise PredictorError(
                f"The prediction of {images.names[edge[0]]} and {images.names[edge[1]]} has {shape[1]} x {shape[0]} "
                f"pixels for {view.name}, not {view.network_size[0]} x {view.network_size[1]}; predict the pairs again."
            )
    return found
