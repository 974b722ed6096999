"""What of the samples takes part in the normal equations, image by image."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dust3r_sfm.alignment.samples import Samples

Depths = tuple[Float32[np.ndarray, " _"], ...]
"""Depths of the samples of each image."""


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """The samples of one image that weigh anything: own pointmaps first, then those in other cameras' frames.

    Attributes:
        index: the image.
        num_own: so many incidences are the image's own pointmaps.
        rows: place of each incidence in `points` (l,).
        edges: edge of each incidence (l,).
        xy: pixels relative to the principal point (s, 2).
        points: predictions, also those that weigh nothing (k, 3, s).
        weights: log-confidence times the edge's weight (l, s).
        scales: depths by which the loss divides (s,).
    """

    index: int
    num_own: int
    rows: Int64[np.ndarray, " l"]
    edges: Int64[np.ndarray, " l"]
    xy: Float64[np.ndarray, "s 2"]
    points: Float32[np.ndarray, "k 3 s"]
    weights: Float32[np.ndarray, "l s"]
    scales: Float32[np.ndarray, " s"]


def weighted_images(samples: Samples, edge_weights: Float64[np.ndarray, " e"], scales: Depths) -> list[ImageData]:
    """Gather what takes part; images without any incidence are left out."""
    found = []
    for index, image in enumerate(samples.images):
        rows = np.flatnonzero(edge_weights[image.edges] > 0)
        if len(rows):
            edges = image.edges[rows]
            found.append(
                ImageData(
                    index=index,
                    num_own=int((image.roles[rows] == 0).sum()),
                    rows=rows,
                    edges=edges,
                    xy=image.xy,
                    points=image.points,
                    weights=image.weights[rows] * edge_weights[edges, None].astype(np.float32),
                    scales=scales[index],
                )
            )
    return found
