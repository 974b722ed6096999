"""One pass over the predictions: a fixed lattice of pixels per image, as every edge that sees the image predicts it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from dust3r_sfm.alignment.reading import Pointmap, read_pointmaps
from dust3r_sfm.types import Edge, ImageSet, PairPrediction, View


@dataclass(frozen=True, kw_only=True)
class ImageSamples:
    """The sampled pixels of one image and what is predicted for them.

    An incidence is one pointmap of the image: role 0 in an edge that starts at it (the points are in its own camera's
    frame), role 1 in an edge that ends at it.

    Attributes:
        xy: pixel positions relative to the principal point, in network pixels (s, 2).
        edges: index of the edge of each incidence (l,).
        roles: 0 or 1 (l,).
        points: predicted points in the edge's frame, coordinates first, which is what the kernels read (l, 3, s); 0
            where unusable.
        weights: log of the confidence (l, s); 0 where nothing is known.
    """

    xy: Float64[np.ndarray, "s 2"]
    edges: Int64[np.ndarray, " l"]
    roles: Int64[np.ndarray, " l"]
    points: Float32[np.ndarray, "l 3 s"]
    weights: Float32[np.ndarray, "l s"]

    def incidence(self, edge: int) -> int:
        """Return the incidence of an edge that touches this image."""
        return int(np.flatnonzero(self.edges == edge)[0])


@dataclass(frozen=True, kw_only=True)
class Samples:
    """All images' samples; `edges` are the directed edges that carry any information."""

    images: tuple[ImageSamples, ...]
    edges: Int64[np.ndarray, "e 2"]

    def select(self, images: Bool[np.ndarray, " n"], edges: Bool[np.ndarray, " e"]) -> "Samples":
        """Keep some images and edges, renumbered; the edges must join kept images."""
        new_image, new_edge = np.cumsum(images) - 1, np.cumsum(edges) - 1
        kept = []
        for image in (self.images[i] for i in np.flatnonzero(images)):
            rows = edges[image.edges]
            kept.append(
                ImageSamples(
                    xy=image.xy,
                    edges=new_edge[image.edges[rows]],
                    roles=image.roles[rows],
                    points=image.points[rows],
                    weights=image.weights[rows],
                )
            )
        return Samples(images=tuple(kept), edges=new_image[self.edges[edges]])

    def thin(self, num_samples: int) -> "Samples":
        """Keep the first samples of each image, which are spread over it like all of them."""
        kept = [
            ImageSamples(
                xy=image.xy[:num_samples],
                edges=image.edges,
                roles=image.roles,
                points=image.points[:, :, :num_samples],
                weights=image.weights[:, :num_samples],
            )
            for image in self.images
        ]
        return Samples(images=tuple(kept), edges=self.edges)

    def of(self, edge: int, role: int) -> tuple[Float64[np.ndarray, "s 3"], Float64[np.ndarray, " s"]]:
        """Return the points and weights of one of the two pointmaps of an edge."""
        image = self.images[self.edges[edge, role]]
        incidence = image.incidence(edge)
        return image.points[incidence].T.astype(np.float64), image.weights[incidence].astype(np.float64)


def principal_points(images: ImageSet) -> Float64[np.ndarray, "n 2"]:
    """Return the centres of the raw photographs, in network pixels: where a crop leaves the optical axis."""
    return np.array([(v.network_from_image @ [v.size[0] / 2, v.size[1] / 2, 1])[:2] for v in images.views])


def draw_samples(
    images: ImageSet,
    predictions: Mapping[Edge, PairPrediction],
    num_samples: int,
    progress: Callable[[], None] = lambda: None,
) -> Samples:
    """Read every prediction once and keep about `num_samples` pixels of each of its pointmaps.

    Raises:
        PredictorError: a prediction does not have the size of its images.
    """
    lattices = [_lattice(view.network_size, num_samples) for view in images.views]
    found: list[list[tuple[int, int, np.ndarray, np.ndarray]]] = [[] for _ in images.views]
    edges: list[Edge] = []
    for edge in sorted(predictions):
        pointmaps = read_pointmaps(images, predictions, edge)
        maps = [_take(pointmap, lattices[image]) for pointmap, image in zip(pointmaps, edge, strict=True)]
        # Confidence 1 everywhere, in either map, says that the predictor knows nothing about the pair.
        if edge[0] != edge[1] and all(weights.any() for _, weights in maps):
            for role in (0, 1):
                found[edge[role]].append((len(edges), role, *maps[role]))
            edges.append(edge)
        progress()

    centres = principal_points(images)
    return Samples(
        images=tuple(
            _stack(found[i], _offsets(images.views[i], np.stack([columns, rows], 1) + 0.5, centres[i]))
            for i, (rows, columns) in enumerate(lattices)
        ),
        edges=np.array(edges, np.int64).reshape(-1, 2),
    )


def log_confidence(points: Float32[np.ndarray, "*b 3"], confidence: Float32[np.ndarray, "*b"]) -> np.ndarray:
    """Return the weights log C of pointmap pixels, 0 where point or confidence are not finite."""
    usable = np.isfinite(points).all(-1) & np.isfinite(confidence) & (confidence > 1)
    return np.log(np.where(usable, confidence, 1)).astype(np.float32)


def _offsets(
    view: View, pixels: Float64[np.ndarray, "s 2"], centre: Float64[np.ndarray, " 2"]
) -> Float64[np.ndarray, "s 2"]:
    """Return pixels against the principal point, in the units of the horizontal focal length if that is known."""
    if view.known_intrinsics is None:
        return np.asarray(pixels - centre)
    slopes = np.c_[pixels, np.ones(len(pixels))] @ np.linalg.inv(view.known_intrinsics).T
    return np.asarray(slopes[:, :2] * view.known_intrinsics[0, 0])


def _lattice(size: tuple[int, int], num_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a regular grid with about `num_samples` pixels, in an order whose every part is spread."""
    stride = max(1.0, math.sqrt(size[0] * size[1] / num_samples))
    columns, rows = (
        ((np.arange(count) + 0.5) * side / count).astype(np.int64)
        for side, count in ((side, max(1, int(side / stride))) for side in size)
    )
    order = np.random.default_rng(0).permutation(len(rows) * len(columns))
    return np.repeat(rows, len(columns))[order], np.tile(columns, len(rows))[order]


def _take(pointmap: Pointmap, lattice: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    points, confidence = pointmap.take(lattice)
    weights = log_confidence(points, confidence)
    return np.where(weights[:, None] > 0, points, 0), weights


def _stack(found: Sequence[tuple[int, int, np.ndarray, np.ndarray]], xy: np.ndarray) -> ImageSamples:
    return ImageSamples(
        xy=xy,
        edges=np.array([entry[0] for entry in found], np.int64),
        roles=np.array([entry[1] for entry in found], np.int64),
        points=np.stack([entry[2].T for entry in found]) if found else np.empty((0, 3, len(xy)), np.float32),
        weights=np.stack([entry[3] for entry in found]) if found else np.empty((0, len(xy)), np.float32),
    )
