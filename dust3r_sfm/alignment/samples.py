"""One pass over the predictions: a fixed lattice of pixels per image, as every edge that sees the image predicts it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from dust3r_sfm.alignment.reading import GUESS, NOTHING, is_usable, read_pointmaps
from dust3r_sfm.system.compiled import compiled
from dust3r_sfm.types import Edge, ImageSet, PairPrediction, View

_ZERO = np.float32(0)


@dataclass(frozen=True, kw_only=True)
class ImageSamples:
    """The sampled pixels of one image and what is predicted for them.

    An incidence is one pointmap of the image: role 0 in an edge that starts at it (the points are in its own camera's
    frame), role 1 in an edge that ends at it; those of role 0 come first.

    Attributes:
        xy: pixel positions relative to the principal point, in network pixels (s, 2).
        edges: index of the edge of each incidence (l,).
        roles: 0 or 1 (l,).
        points: predicted points in the edge's frame, coordinates first, which is what the kernels read (l, 3, s); 0
            where unusable.
        weights: log of the confidence (l, s); 0 where nothing is known, or only guessed.
    """

    xy: Float64[np.ndarray, "s 2"]
    edges: Int64[np.ndarray, " l"]
    roles: Int64[np.ndarray, " l"]
    points: Float32[np.ndarray, "l 3 s"]
    weights: Float32[np.ndarray, "l s"]

    @property
    def num_own(self) -> int:
        """So many incidences are the image's own pointmaps."""
        return int((self.roles == 0).sum())

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
        if images.all() and edges.all():
            return self
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

    def weighted_by(self, weight: Callable[[np.ndarray], np.ndarray]) -> "Samples":
        """Weigh the samples by a function of how far their confidence is above that of nothing known."""
        kept = [replace(image, weights=weight(np.expm1(image.weights))) for image in self.images]
        return replace(self, images=tuple(kept))

    def thin(self, num_samples: int) -> "Samples":
        """Keep the first samples of each image, which are spread over it like all of them."""
        kept = [
            ImageSamples(
                xy=image.xy[:num_samples],
                edges=image.edges,
                roles=image.roles,
                points=np.ascontiguousarray(image.points[:, :, :num_samples]),
                weights=np.ascontiguousarray(image.weights[:, :num_samples]),
            )
            for image in self.images
        ]
        return Samples(images=tuple(kept), edges=self.edges)

    def of(self, edge: int, role: int) -> tuple[Float32[np.ndarray, "3 s"], Float32[np.ndarray, " s"]]:
        """Return the points and weights of one of the two pointmaps of an edge."""
        image = self.images[self.edges[edge, role]]
        incidence = image.incidence(edge)
        return image.points[incidence], image.weights[incidence]


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
    pixels = [
        rows * view.network_size[0] + columns for (rows, columns), view in zip(lattices, images.views, strict=True)
    ]
    wanted = [edge for edge in sorted(predictions) if edge[0] != edge[1]]
    places = np.bincount(np.array(wanted, np.int64).ravel(), minlength=len(images.views))
    points = [np.empty((place, 3, len(p)), np.float32) for place, p in zip(places, pixels, strict=True)]
    sure = [np.empty((place, len(p)), np.float32) for place, p in zip(places, pixels, strict=True)]
    found: list[list[tuple[int, int]]] = [[] for _ in images.views]
    edges: list[Edge] = []
    for edge in wanted:
        known = True
        for image, pointmap in zip(edge, read_pointmaps(images, predictions, edge), strict=True):
            place = len(found[image])
            known &= _keep(*pointmap.take(pixels[image]), points[image][place], sure[image][place])
        # A map of which nothing is measured says that the predictor knows nothing about the pair.
        if known:
            for role in (0, 1):
                found[edge[role]].append((len(edges), role))
            edges.append(edge)
        progress()

    centres, samples = principal_points(images), []
    for i, (rows, columns) in enumerate(lattices):
        numbers = np.array(found[i], np.int64).reshape(-1, 2)
        own_first = np.argsort(numbers[:, 1], kind="stable")
        samples.append(
            ImageSamples(
                xy=_offsets(images.views[i], np.stack([columns, rows], 1) + 0.5, centres[i]),
                edges=numbers[own_first, 0],
                roles=numbers[own_first, 1],
                points=points[i][own_first],
                weights=np.log(1 + sure[i][own_first]),
            )
        )
    return Samples(images=tuple(samples), edges=np.array(edges, np.int64).reshape(-1, 2))


@compiled
@no_type_check
def _keep(points, confidence, kept, sure):
    """Keep points and confidences, less that of nothing known, coordinates first; say whether any is measured."""
    any_measured = False
    for p in range(len(points)):
        x, y, z, known = points[p, 0], points[p, 1], points[p, 2], confidence[p] - NOTHING
        usable = is_usable(x, y, z, known) and known > GUESS
        any_measured |= usable
        kept[0, p] = x if usable else _ZERO
        kept[1, p] = y if usable else _ZERO
        kept[2, p] = z if usable else _ZERO
        sure[p] = known if usable else _ZERO
    return any_measured


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
