"""Depth of posed photographs alone: the predictor's pointmaps, scaled by the known baselines and merged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64
from scipy.spatial.distance import cdist

from dust3r_sfm.errors import ReconstructionError
from dust3r_sfm.geometry.pinhole import pixel_grid
from dust3r_sfm.geometry.transforms import centres, compose, invert
from dust3r_sfm.localization.cache import ImageCache
from dust3r_sfm.localization.lift import DepthRaster
from dust3r_sfm.localization.reference import Reference
from dust3r_sfm.pairs.graph import pair_graph
from dust3r_sfm.pairs.neighbours import nearest_neighbours
from dust3r_sfm.predictors.predictor import PairPredictor, predictor_mark
from dust3r_sfm.types import Edge, ImageSet, PairGraph, PairPrediction, View, is_known

_NUM_NEIGHBOURS = 4
"""Neighbours by whose baselines each photograph is triangulated. Chosen by hand."""

_STRIDE_NETWORK_PX = 3
"""Every n-th pixel of each axis tells the scale. Chosen by hand."""

_MIN_PIXELS = 100
"""Pixels that tell the scale, at least. Chosen by hand."""

_AGREE_OF_DEPTH = 0.05
"""Depths of two pairs that differ by less than this share are one surface. Chosen by hand."""

_MAX_SPREAD_OF_SCALE = 0.15
"""A pair whose pixels disagree more about its scale (interquartile range over median) is not believed. Chosen by
hand."""


def triangulated_depths(
    reference: Reference,
    predictor: PairPredictor,
    cache: Path | None,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> Callable[[int], DepthRaster | None]:
    """Predict neighbouring photographs of the map in pairs, and merge what they say about each one's depth.

    Args:
        reference: posed photographs; points are not used.
        predictor: told the known cameras and poses by the views.
        cache: folder that keeps the depths.
        step: called after each pair.

    Returns:
        A reader for `DepthLift`.

    Raises:
        ReconstructionError: no pair of photographs gives depth (no overlap, no baseline, wrong poses).
    """
    graph = _neighbours(reference)
    files = ImageCache(cache, f"triangulated by {predictor_mark(predictor)} {_NUM_NEIGHBOURS}")
    stored = {index: files.read(view) for index, view in enumerate(reference.views)}
    depths: dict[int, Float32[np.ndarray, "h w"]] = {
        index: arrays["depth"] for index, arrays in stored.items() if arrays is not None
    }
    if len(depths) < len(reference.views):
        depths = _predicted(reference, predictor, graph, step)
        for index, depth in depths.items():
            files.write(reference.views[index], {"depth": depth})
    if not any((depth > 0).any() for depth in depths.values()):
        raise ReconstructionError(
            "No two photographs of the map give depth together; give poses that fit the photographs, or depth maps."
        )
    return lambda index: DepthRaster(depth=depths[index], matrix=reference.views[index].network_from_image)


def known_scale(
    prediction: PairPrediction,
    cam2_from_cam1: Float64[np.ndarray, "3 4"],
    matrix2: Float64[np.ndarray, "3 3"],
) -> float | None:
    """Scale of a prediction so that image 2's points lie on image 2's rays, by the known pose.

    A point X of camera 1's frame, scaled by s, is seen at R s X + t = λ ray: its cross product with the ray vanishes,
    which is linear in s. The median over the pixels is robust against wrong points.

    Args:
        prediction: of the pair (1, 2).
        cam2_from_cam1: known relative pose of the upright cameras, world units.
        matrix2: pinhole matrix of image 2, network pixels.

    Returns:
        None where too few pixels tell, or they disagree.
    """
    height, width = prediction.confidence2.shape
    pixels = pixel_grid(height, width)[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX].reshape(-1, 2)
    points = prediction.points2[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX].reshape(-1, 3).astype(np.float64)
    known = is_known(prediction.confidence2[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX].ravel()) & np.isfinite(
        points
    ).all(axis=1)
    rays = np.column_stack([(pixels - matrix2[:2, 2]) / matrix2[(0, 1), (0, 1)], np.ones(len(pixels))])[known]
    turned = np.cross(rays, points[known] @ cam2_from_cam1[:, :3].T)
    moved = np.cross(rays, np.broadcast_to(cam2_from_cam1[:, 3], rays.shape))
    scale = -(turned * moved).sum(axis=1) / np.maximum((turned**2).sum(axis=1), 1e-18)
    scale = scale[np.isfinite(scale) & (scale > 0)]
    if len(scale) < max(_MIN_PIXELS, 0.5 * known.sum()):
        return None
    low, median, high = np.percentile(scale, (25, 50, 75))
    return float(median) if high - low < 2 * _MAX_SPREAD_OF_SCALE * median else None


def _predicted(
    reference: Reference, predictor: PairPredictor, graph: PairGraph, step: Callable[[int, int], None]
) -> dict[int, Float32[np.ndarray, "h w"]]:
    views = reference.views
    poses: list[np.ndarray] = [_upright_pose(view) for view in views]
    predictor.prepare(ImageSet(root=views[0].path.parent, views=views), graph)
    features = dict(enumerate(predictor.encode(views)))
    edges: list[Edge] = [edge for i, j in graph.edges.tolist() for edge in ((i, j), (j, i))]
    votes: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {index: [] for index in range(len(views))}
    for done, ((i, j), prediction) in enumerate(predictor.predict(features, edges), start=1):
        matrix = views[j].known_intrinsics
        assert matrix is not None, "the map's cameras are known"
        scale = known_scale(prediction, compose(poses[j], invert(poses[i])), matrix)
        if scale is not None:
            votes[i].append((prediction.points1[..., 2] * np.float32(scale), prediction.confidence1))
        step(done, len(edges))
    return {index: _merged(votes[index], view) for index, view in enumerate(views)}


def _merged(votes: list[tuple[np.ndarray, np.ndarray]], view: View) -> Float32[np.ndarray, "h w"]:
    """Per pixel, the mean of the depths that agree with the most confident one, weighted by confidence."""
    width, height = view.network_size
    if not votes:
        return np.zeros((height, width), np.float32)
    depth, confidence = np.stack([vote[0] for vote in votes]), np.stack([vote[1] for vote in votes])
    weight = np.where(np.isfinite(depth) & (depth > 0), confidence - 1, 0)
    best = np.take_along_axis(depth, weight.argmax(axis=0)[None], axis=0)
    weight = np.where(np.abs(depth - best) < _AGREE_OF_DEPTH * best, weight, 0)
    total = weight.sum(axis=0)
    merged = (weight * np.nan_to_num(depth)).sum(axis=0) / np.maximum(total, 1e-9)
    return np.where(total > 0, merged, 0).astype(np.float32)


def _upright_pose(view: View) -> Float64[np.ndarray, "3 4"]:
    assert view.known_cam_from_world is not None, "the map's poses are known"
    return view.known_cam_from_world


def _neighbours(reference: Reference) -> PairGraph:
    """Photographs that look the same way from a little apart: the depth of a pair needs overlap and a baseline."""
    if len(reference.views) < 2:
        return pair_graph(len(reference.views), np.zeros((0, 2), np.int64))
    centre = centres(reference.cam_from_world)
    direction = reference.cam_from_world[:, 2, :3]
    distance = cdist(centre, centre)
    wanted = max(float(np.median(np.sort(distance, axis=1)[:, min(_NUM_NEIGHBOURS, len(centre) - 1)])), 1e-12)

    def similarity(rows: slice) -> Float64[np.ndarray, "rows n"]:
        apart = np.log(np.maximum(distance[rows], 1e-3 * wanted) / wanted)
        aligned = np.clip(direction[rows] @ direction.T, 0, 1) ** 4
        return np.asarray(aligned * np.exp(-(apart**2)), dtype=np.float64)

    return nearest_neighbours(len(centre), _NUM_NEIGHBOURS, similarity)
