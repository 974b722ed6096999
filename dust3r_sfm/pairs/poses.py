"""Pairs from the cameras of a COLMAP model: those that share points, or else stand close and look the same way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist

from dust3r_sfm.errors import InputError
from dust3r_sfm.pairs.graph import pair_graph
from dust3r_sfm.pairs.neighbours import nearest_neighbours
from dust3r_sfm.types import PairGraph

_SAMPLE_IMAGES = 500
"""Images whose distances give the typical one, so that large models take no longer. Chosen by hand."""


def pairs_from_poses(model: Path, names: Sequence[str], num_neighbours: int) -> PairGraph:
    """Pair each image with those that overlap it most, as a COLMAP model knows.

    The similarity of two images is the number of 3-D points that both see (hloc calls it covisibility), plus, for
    models without points and to break ties, a number below 1 that falls with the distance between the two cameras (in
    medians of all distances) and the angle between their viewing directions.

    Args:
        model: folder with cameras, images and points3D files.
        names: the images; those that the model does not know get no pair.
        num_neighbours: how many each image chooses.

    Raises:
        InputError: the folder is not a COLMAP model, or knows fewer than two of the names.
    """
    images = _posed_images(model)
    known = [index for index, name in enumerate(names) if name in images]
    if len(known) < 2:
        raise InputError(
            f"The model {model} knows {len(known)} of the {len(names)} photographs by name: its names must be relative "
            f"to the folder of photographs, like {names[0]}.",
            path=model,
        )
    chosen = [images[names[index]] for index in known]
    centres = np.array([image.projection_center() for image in chosen])
    directions = np.array([image.viewing_direction() for image in chosen])
    sees = _sees(chosen)
    sample = np.linspace(0, len(known) - 1, min(len(known), _SAMPLE_IMAGES)).astype(np.int64)
    typical_distance = float(np.median(cdist(centres[sample], centres[sample]))) or 1.0

    def similarity(rows: slice) -> Float64[np.ndarray, "rows n"]:
        near = 1 / (1 + cdist(centres[rows], centres) / typical_distance)
        aligned = (1.001 + directions[rows] @ directions.T) / 2.002
        shared = (sees[rows] @ sees.T).toarray()
        return np.asarray(shared + 0.999 * near * aligned, dtype=np.float64)

    graph = nearest_neighbours(len(known), num_neighbours, similarity)
    return pair_graph(len(names), np.array(known, dtype=np.int64)[graph.edges], graph.weights)


def _posed_images(model: Path) -> dict[str, Any]:
    """The images of a model that have a pose, by name."""
    from dust3r_sfm.system._pycolmap import pycolmap

    if not any((model / f"images.{suffix}").is_file() for suffix in ("bin", "txt")):
        raise InputError(
            f"{model} is not a COLMAP model: give the folder that holds cameras.bin and images.bin.", path=model
        )
    try:
        reconstruction = pycolmap.Reconstruction(model)
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(f"The COLMAP model {model} cannot be read ({error}): export it again.", path=model) from error
    return {image.name: image for image in reconstruction.images.values() if image.has_pose}


def _sees(images: Sequence[Any]) -> csr_array:
    """Which image sees which 3-D point, as a sparse matrix of zeros and ones."""
    seen = [
        np.unique(np.array([point.point3D_id for point in image.get_observation_points2D()], dtype=np.uint64))
        for image in images
    ]
    rows = np.repeat(np.arange(len(images)), [len(points) for points in seen])
    ids, columns = np.unique(np.concatenate(seen), return_inverse=True)
    return csr_array((np.ones(len(rows)), (rows, columns.reshape(-1))), shape=(len(images), max(1, len(ids))))
