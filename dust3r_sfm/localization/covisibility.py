"""Groups of images that see the same points."""

from collections.abc import Sequence

import numpy as np

from dust3r_sfm.localization.reference import Reference
from dust3r_sfm.pairs.graph import component_labels


def covisible_groups(reference: Reference, images: Sequence[int]) -> list[list[int]]:
    """Part images into groups that are joined by shared points of the model, as hloc does; the largest first.

    Images of a model without points stay together.
    """
    seen = [
        np.array([point.point3D_id for point in reference.image(index).get_observation_points2D()], dtype=np.uint64)
        for index in images
    ]
    if not any(len(points) for points in seen):
        return [list(images)]
    edges = [
        (first, second)
        for first in range(len(images))
        for second in range(first + 1, len(images))
        if len(np.intersect1d(seen[first], seen[second]))
    ]
    labels = component_labels(len(images), np.array(edges, dtype=np.int64).reshape(-1, 2))
    groups = [[images[node] for node in np.flatnonzero(labels == label).tolist()] for label in np.unique(labels)]
    return sorted(groups, key=lambda group: -len(group))
