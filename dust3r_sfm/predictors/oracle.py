"""A predictor that knows the scene: exact pointmaps, or exactly as wrong as asked, to judge all that follows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64
from scipy.ndimage import zoom

from dust3r_sfm.errors import PredictorError, WeightsError
from dust3r_sfm.geometry.pinhole import project, unproject
from dust3r_sfm.geometry.transforms import apply, compose, invert, rotation_exp
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.options import PredictorOptions
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.types import NOTHING_KNOWN, Edge, ImageSet, PairGraph, PairPrediction, View

_SEEN_BY_BOTH = 10.0
"""Confidence of what both photographs show. Chosen by hand."""

_SEEN_BY_ONE = 2.0
"""Confidence of what one shows. Chosen by hand."""

_MIN_OVERLAP_OF_PICTURE = 0.05
"""A pair that shares less of its pictures fails, as it does with a network. Chosen by hand."""

_SAME_SURFACE_OF_DEPTH = 0.02
"""Largest relative difference of depth between a point and the surface in front of it. Chosen by hand."""

_CELLS_PER_SIDE = 12
"""Cells of space along each axis. Chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class OracleNoise:
    """How wrong the oracle is; every number is a standard deviation unless said otherwise, all independent per edge.

    Attributes:
        depth: smooth relative error of depth over the picture (bent surfaces).
        pixel: independent relative error of depth of each pixel.
        rotation: error of the relative rotation, degrees about a random axis.
        translation: error of the relative translation, share of its length.
        wrong_pairs: share of the pairs that are confidently wrong: a relative rotation 20 to 60 degrees off.
    """

    depth: float = 0.0
    pixel: float = 0.0
    rotation: float = 0.0
    translation: float = 0.0
    wrong_pairs: float = 0.0


_NO_NOISE = OracleNoise()


class OraclePredictor:
    """The known scene itself: exact pointmaps for tests and for measuring what follows a predictor.

    Each edge has a random scale. Confidence is high where both photographs see the surface and low, with the geometry
    still right, where one does; pairs that share less than a twentieth of their pictures fail.
    """

    name = "oracle"
    licence = "Apache-2.0"
    weights = "scene.h5 with the known cameras and depths"

    def __init__(self, options: PredictorOptions, seed: int, noise: OracleNoise = _NO_NOISE) -> None:
        if options.weights is None:
            raise WeightsError("The oracle needs a known scene: add --weights with the path of its scene.h5.")
        self._scene = read_scene(Path(options.weights))
        self._index = {name: i for i, name in enumerate(self._scene.names)}
        self._seed = seed
        self._noise = noise
        self.grid = Grid(size=int(self._scene.network_sizes.max()))

    def prepare(self, images: ImageSet, graph: PairGraph) -> None:
        """Check that the scene knows every photograph on the same network grid.

        Raises:
            PredictorError: naming the first photograph that it does not know.
        """
        for view in images.views:
            self._known(view)

    def encode(self, views: Sequence[View]) -> Sequence["_Seen"]:
        """Return what each view sees, in its own camera's frame."""
        return [self._see(self._known(view)) for view in views]

    def predict(self, features: Mapping[int, Any], edges: Sequence[Edge]) -> Iterator[tuple[Edge, PairPrediction]]:
        """Yield the pointmaps of each edge; an edge's noise depends on the seed and its two photographs only."""
        confidences: dict[Edge, Float32[np.ndarray, "_ _"]] = {}
        for i, j in edges:
            if (i, j) not in confidences:
                # Kept for the other direction, which comes next.
                confidences = {(a, b): self._confidence(features[a], features[b]) for a, b in ((i, j), (j, i))}
            yield (i, j), self._predict(features[i], features[j], confidences[i, j], confidences[j, i])

    def describe(self, views: Sequence[View]) -> Float32[np.ndarray, "n d"]:
        """Return which cells of space each view sees, so that the cosine of two views says how much they share."""
        scene = self._scene
        seen = [
            apply(invert(scene.cam_from_world[view.index]), view.points[scene.depths[view.index] > 0])
            for view in self.encode(views)
        ]
        low, high = np.percentile(np.concatenate(seen), [1, 99], axis=0)
        descriptors = np.zeros((len(views), _CELLS_PER_SIDE**3), np.float32)
        for descriptor, points in zip(descriptors, seen, strict=True):
            cells = np.clip((points - low) / (high - low) * _CELLS_PER_SIDE, 0, _CELLS_PER_SIDE - 1).astype(int)
            descriptor[np.ravel_multi_index(tuple(cells.T), (_CELLS_PER_SIDE,) * 3)] = 1
        return np.asarray(descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1))

    def _known(self, view: View) -> int:
        scene = self._scene
        index = self._index.get(view.name)
        if index is None:
            raise PredictorError(f"The oracle's scene has no photograph {view.name}; give the scene.h5 of these ones.")
        if not np.allclose(scene.network_from_image[index], view.network_from_image, atol=1e-6):
            raise PredictorError(
                f"The oracle's scene has {view.name} in another size or orientation; give its own scene.h5."
            )
        return index

    def _see(self, index: int) -> "_Seen":
        depth = self._scene.depths[index].astype(np.float64)
        if (depth > 0).any():
            depth[depth == 0] = np.median(depth[depth > 0])
        return _Seen(index=index, points=unproject(depth, self._scene.intrinsics[index]).astype(np.float32))

    def _predict(
        self,
        first: "_Seen",
        second: "_Seen",
        confidence1: Float32[np.ndarray, "h1 w1"],
        confidence2: Float32[np.ndarray, "h2 w2"],
    ) -> PairPrediction:
        registered = self._scene.registered
        overlap = min((confidence1 == _SEEN_BY_BOTH).mean(), (confidence2 == _SEEN_BY_BOTH).mean())
        if overlap < _MIN_OVERLAP_OF_PICTURE or not (registered[first.index] and registered[second.index]):
            confidence1, confidence2 = (
                np.full_like(confidence1, NOTHING_KNOWN),
                np.full_like(confidence2, NOTHING_KNOWN),
            )
        rng = np.random.default_rng([self._seed, first.index, second.index])
        points1 = first.points * self._bend(first.points.shape[:2], rng)
        cam1_from_cam2 = self._disturbed(self._relative(first.index, second.index), first.index, second.index, rng)
        points2 = _apply(cam1_from_cam2, second.points * self._bend(second.points.shape[:2], rng))
        scale = np.float32(2 ** rng.uniform(-1, 1) / np.median(points1[..., 2]))
        return PairPrediction(
            points1=points1 * scale, confidence1=confidence1, points2=points2 * scale, confidence2=confidence2
        )

    def _relative(self, first: int, second: int) -> Float64[np.ndarray, "3 4"]:
        """Return cam1_from_cam2 of two images of the scene."""
        return compose(self._scene.cam_from_world[first], invert(self._scene.cam_from_world[second]))

    def _confidence(self, viewer: "_Seen", other: "_Seen") -> Float32[np.ndarray, "h w"]:
        """Return the confidence of the pixels of `viewer`: high where it shows a surface that `other` shows too."""
        known = self._scene.depths[viewer.index] > 0
        matrix = self._scene.intrinsics[other.index].astype(np.float32)
        points = _apply(self._relative(other.index, viewer.index), viewer.points)
        xy = np.nan_to_num(project(points, matrix), nan=-1.0)
        inside = ((xy >= 0) & (xy < self._scene.network_sizes[other.index])).all(-1)
        column, row = np.moveaxis(np.where(inside[..., None], xy, 0).astype(int), -1, 0)
        in_front = self._scene.depths[other.index][row, column]
        visible = inside & (np.abs(points[..., 2] - in_front) < _SAME_SURFACE_OF_DEPTH * in_front)
        confidence = np.where(visible, _SEEN_BY_BOTH, _SEEN_BY_ONE)
        return np.where(known, confidence, NOTHING_KNOWN).astype(np.float32)

    def _bend(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float32[np.ndarray, "h w 1"]:
        """Return the factor by which a prediction's depth is wrong."""
        error = np.zeros(shape)
        if self._noise.depth > 0:
            error = error + self._noise.depth * _smooth_field(shape, rng)
        if self._noise.pixel > 0:
            error = error + self._noise.pixel * rng.standard_normal(shape)
        return np.exp(error)[..., None].astype(np.float32)

    def _disturbed(
        self, cam1_from_cam2: Float64[np.ndarray, "3 4"], first: int, second: int, rng: np.random.Generator
    ) -> Float64[np.ndarray, "3 4"]:
        angle = np.radians(self._noise.rotation) * rng.standard_normal()
        # Both directions of a pair are wrong together, as they are when a building looks the same from two sides.
        pair_rng = np.random.default_rng([self._seed, min(first, second), max(first, second), 1])
        if pair_rng.uniform() < self._noise.wrong_pairs:
            angle = np.radians(pair_rng.uniform(20, 60))
        rotation = rotation_exp(angle * _direction(rng)) @ cam1_from_cam2[:, :3]
        translation = cam1_from_cam2[:, 3]
        error = self._noise.translation * rng.standard_normal() * np.linalg.norm(translation) * _direction(rng)
        return np.concatenate([rotation, (translation + error)[:, None]], axis=1)


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """The feature of a photograph: its index in the scene, and its points in its own camera's frame."""

    index: int
    points: Float32[np.ndarray, "h w 3"]


def _apply(transform: Float64[np.ndarray, "3 4"], points: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    return apply(transform.astype(np.float32), points.reshape(-1, 3)).reshape(points.shape)


def _direction(rng: np.random.Generator) -> Float64[np.ndarray, "3"]:
    vector = rng.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector))


def _smooth_field(shape: tuple[int, ...], rng: np.random.Generator) -> Float64[np.ndarray, "h w"]:
    """Return a field of unit variance with about four waves across the picture."""
    field = zoom(rng.standard_normal((6, 6)), (shape[0] / 6, shape[1] / 6), order=3)
    return np.asarray(field / field.std())
