"""One photograph without others: its own depth and focal length from F(I, I), and a model of one camera.

A network of pairs also knows a photograph in the pair with itself (Wang et al. 2024, section 4.3). That gives a scene
of one image. Its model has points made of the depth, each seen once: viewers and splatting trainers, which start from
points, open it; multi-view stereo finds nothing to do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from dust3r_sfm.alignment.samples import principal_points
from dust3r_sfm.errors import PredictorError, ReconstructionError
from dust3r_sfm.geometry.focal import weiszfeld_focal
from dust3r_sfm.geometry.pinhole import intrinsics, pixel_grid, unproject
from dust3r_sfm.geometry.transforms import apply, invert
from dust3r_sfm.matching.mutual import raw_from_network
from dust3r_sfm.network.names import KNOWN_WEIGHTS
from dust3r_sfm.options import PredictOptions
from dust3r_sfm.predictors.dust3r import NetworkPredictor
from dust3r_sfm.predictors.predictor import PairPredictor
from dust3r_sfm.predictors.run import Share, predict_edges
from dust3r_sfm.predictors.store import PredictionStore
from dust3r_sfm.types import Edge, ImageSet, PairGraph, PairPrediction, Scene, Tracks, View

POINT_STRIDE = 2
"""The model's points are every second pixel of each axis: as dense as splats start out."""
LEAST_CONFIDENT = 10.0
"""Percent of the pixels that give no point: sky, and edges where depth flies between two surfaces."""


@dataclass(frozen=True, kw_only=True)
class OwnGeometry:
    """What a photograph's pointmap in its own frame says.

    Attributes:
        depth: z of each network pixel, 0 where unknown.
        confidence: at least 1; 1 where nothing is known.
        focal: focal length in network pixels, about the centre of the photograph (before any crop).
    """

    depth: Float32[np.ndarray, "h w"]
    confidence: Float32[np.ndarray, "h w"]
    focal: float


def require_network(predictor: PairPredictor) -> NetworkPredictor:
    """Return the predictor if it can look at a photograph alone.

    Raises:
        PredictorError: for one that needs two photographs; the message names those that do not.
    """
    if isinstance(predictor, NetworkPredictor):
        return predictor
    *names, last = KNOWN_WEIGHTS
    raise PredictorError(
        f"'{predictor.name}' sees depth only between two photographs; one alone needs a network: --predictor "
        f"{', '.join(names)} or {last}."
    )


def own_geometry(prediction: PairPrediction, view: View) -> OwnGeometry:
    """Read depth and focal length (Weiszfeld) off the first pointmap of a pair, of which F(I, I) is one.

    Raises:
        ReconstructionError: the pointmap says nothing about the photograph, or is none of a camera.
    """
    points, confidence = prediction.points1, prediction.confidence1
    known = np.isfinite(points).all(axis=-1) & (confidence > 1) & (points[..., 2] > 0)
    centre = principal_points(ImageSet(root=Path(), views=(view,)))[0]
    weight = np.where(known, np.log(np.maximum(confidence, 1)), 0)
    focal = weiszfeld_focal(points, weight, (float(centre[0]), float(centre[1])))
    if not np.isfinite(focal) or focal <= 0:
        raise ReconstructionError(
            f"The network gives no usable depth for {view.name}; use other weights or photographs."
        )
    return OwnGeometry(
        depth=np.where(known, points[..., 2], np.float32(0)),
        confidence=np.where(known, confidence, np.float32(1)),
        focal=focal,
    )


def predict_alone(
    predictor: PairPredictor,
    images: ImageSet,
    graph: PairGraph,
    store_path: Path,
    options: PredictOptions,
    progress: Callable[[int, int], None] | None = None,
    seed: int = 0,
) -> PredictionStore:
    """Predict and store F(I, I) of the only photograph as edge (0, 0); see `predictors.run.predict_pairs`."""
    return predict_edges(predictor, images, Share(graph=graph, edges=[(0, 0)]), store_path, options, progress, seed)


def scene_of_one(images: ImageSet, predictions: Mapping[Edge, PairPrediction]) -> Scene:
    """Make the scene of one photograph from its F(I, I); known intrinsics and a known pose are kept.

    Raises:
        ReconstructionError: the network knows nothing about the photograph.
    """
    (view,) = images.views
    geometry = own_geometry(predictions[0, 0], view)
    matrix = view.known_intrinsics
    if matrix is None:
        centre = principal_points(images)[0]
        matrix = intrinsics(geometry.focal, view.network_size, (float(centre[0]), float(centre[1])))
    pose = np.eye(3, 4) if view.known_cam_from_world is None else view.known_cam_from_world
    return Scene(
        image_root=images.root,
        names=images.names,
        image_sizes=np.array([view.size], np.int64),
        network_sizes=np.array([view.network_size], np.int64),
        network_from_image=view.network_from_image[None],
        camera_groups=np.array([view.camera_group], np.int64),
        intrinsics=matrix[None],
        cam_from_world=pose[None],
        registered=np.ones(1, bool),
        depths=(geometry.depth,),
        confidences=(geometry.confidence,),
        edges=np.zeros((0, 2), np.int64),
        world_from_edge=np.zeros((0, 4, 4)),
        edge_weights=np.zeros(0),
        edge_residuals=np.zeros(0),
        warnings=("One photograph alone: its depth is the network's guess, which nothing checks.",),
        known_cameras=(view.known_camera,),
        known_poses=np.array([view.known_cam_from_world is not None]),
    )


def tracks_from_depth(scene: Scene, max_points: int, colour: Callable[[int], UInt8[np.ndarray, "_ _ 3"]]) -> Tracks:
    """Make points of the depth of a scene of one image: every second pixel, coloured, seen once.

    Args:
        scene: of one image.
        max_points: fewer pixels are taken where there would be more.
        colour: gives the raw original pixels of an image, by its index.
    """
    depth, confidence, (view,) = scene.depths[0], scene.confidences[0], scene.views
    height, width = depth.shape
    stride = max(POINT_STRIDE, int(np.ceil(np.sqrt(height * width / max(max_points, 1)))))
    chosen = np.zeros(depth.shape, bool)
    chosen[stride // 2 :: stride, stride // 2 :: stride] = True
    chosen &= depth > 0
    chosen &= confidence >= np.percentile(confidence[depth > 0], LEAST_CONFIDENT)
    points = unproject(depth, scene.intrinsics[0])[chosen]
    xy = raw_from_network(pixel_grid(height, width)[chosen], view)
    pixels = colour(0)
    column, row = np.clip(xy.astype(np.int64), 0, np.array(pixels.shape[1::-1]) - 1).T
    return Tracks(
        xyz=apply(invert(scene.cam_from_world[0]), points),
        rgb=pixels[row, column],
        track_of=np.arange(len(points)),
        image_of=np.zeros(len(points), np.int64),
        xy=xy,
    )
