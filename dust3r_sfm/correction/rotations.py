"""How cameras turn: relative rotations averaged, in the frame of the given ones, and which of those are wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.colmap.model import id_of_image
from dust3r_sfm.correction.relative import Relation
from dust3r_sfm.geometry.transforms import rotation_angle
from dust3r_sfm.system._pycolmap import Reconstruction, quiet

ROUGH_DEGREES = 15.0
"""Angle by which a rough camera may be turned; a little more than what "rough" promises for two cameras. Chosen by
hand."""

_SAME_TURN_DEGREES = 10.0
"""Pairs that miss the averaged rotations by more are wrong; pycolmap's default."""

Rotations = Float64[np.ndarray, "n 3 3"]


def contradictions(
    relations: Sequence[Relation], given: Rotations
) -> tuple[Float64[np.ndarray, " e"], Bool[np.ndarray, " n"]]:
    """By how many degrees pairs turn otherwise than the given cameras, and which cameras most pairs contradict.

    Args:
        relations: the pairs.
        given: cam_from_world of all images.

    Returns:
        The angle of each pair; and of each image whether matches, as many as contradict, say that it is turned wrongly.
    """
    edges, weights = _edges(relations), np.array([len(one.matches.xy1) for one in relations], float)
    angles = rotation_angle(given[edges[:, 1]] @ np.swapaxes(given[edges[:, 0]], 1, 2) @ _turns_back(relations))
    wrong = np.zeros(len(given), bool)
    while True:  # the most contradicted first: its pairs say nothing against the others any more
        open_ = ~wrong[edges].any(axis=1)
        total, against = (
            np.bincount(edges[rows].ravel(), np.repeat(weights[rows], 2), minlength=len(given))
            for rows in (open_, open_ & (angles > ROUGH_DEGREES))
        )
        share = against / np.maximum(total, 1.0)
        if share.max(initial=0.0) <= 0.5:
            return angles, wrong
        wrong[int(share.argmax())] = True


def averaged(relations: Sequence[Relation], model: Reconstruction, seed: int) -> Rotations | None:
    """Average relative rotations (pycolmap's L1 and iteratively reweighted solvers, Chatterjee and Govindu 2013).

    Args:
        relations: pairs that join all images of the model.
        model: the images; it is not changed.
        seed: of the solver.

    Returns:
        World to camera by image (in the frame of none of them), NaN for images that are in no pair; None where
        averaging fails.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    graph, copy = pose_graph(relations), pycolmap.Reconstruction(model)
    options = pycolmap.RotationEstimatorOptions(random_seed=seed)
    with quiet():
        if not pycolmap.run_rotation_averaging(options, graph, copy, []):
            return None
    count = max(model.images)
    rotations = np.full((count, 3, 3), np.nan)
    for image_id, image in copy.images.items():
        if image.has_pose:
            rotations[image_id - 1] = image.cam_from_world().rotation.matrix()
    return rotations


def agreeing(relations: Sequence[Relation], rotations: Rotations) -> list[Relation]:
    """The pairs that turn as the averaged rotations do."""
    edges = _edges(relations)
    turn = rotations[edges[:, 1]] @ np.swapaxes(rotations[edges[:, 0]], 1, 2) @ _turns_back(relations)
    known = np.isfinite(turn).all(axis=(1, 2))
    near = known.copy()
    near[known] = rotation_angle(turn[known]) <= _SAME_TURN_DEGREES
    return [one for one, is_near in zip(relations, near, strict=True) if is_near]


def pose_graph(relations: Sequence[Relation]) -> Any:
    """The pairs as pycolmap wants them."""
    from dust3r_sfm.system._pycolmap import pycolmap

    graph = pycolmap.PoseGraph()
    for one in relations:
        edge = pycolmap.PoseGraphEdge()
        edge.cam2_from_cam1 = pycolmap.Rigid3d(one.cam2_from_cam1)
        edge.num_matches = len(one.matches.xy1)
        graph.add_edge(id_of_image(one.matches.image1), id_of_image(one.matches.image2), edge)
    return graph


def _edges(relations: Sequence[Relation]) -> Int64[np.ndarray, "e 2"]:
    return np.array([(one.matches.image1, one.matches.image2) for one in relations], np.int64).reshape(-1, 2)


def _turns_back(relations: Sequence[Relation]) -> Float64[np.ndarray, "e 3 3"]:
    """cam1_from_cam2 rotations."""
    return np.array([one.cam2_from_cam1[:, :3].T for one in relations]).reshape(-1, 3, 3)
