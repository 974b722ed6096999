"""Global alignment: from pairwise pointmaps to one scene."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dust3r_sfm.alignment.component import Aligned, align_component
from dust3r_sfm.alignment.depth.full import PlacedPairs, choose_sources, full_depth
from dust3r_sfm.alignment.frame.anchor import anchored
from dust3r_sfm.alignment.frame.known import Known, known_cameras, known_focals
from dust3r_sfm.alignment.result import left_out, scene_of
from dust3r_sfm.alignment.samples import Samples, draw_samples, principal_points
from dust3r_sfm.alignment.solve.edges import information
from dust3r_sfm.alignment.start.graph import largest_component
from dust3r_sfm.alignment.start.pairwise import focals_of_cameras
from dust3r_sfm.errors import ReconstructionError
from dust3r_sfm.options import AlignOptions
from dust3r_sfm.system.progress import phase
from dust3r_sfm.types import NOTHING_KNOWN, Edge, ImageSet, PairPrediction, Scene

_MIN_PART_IMAGES = 3
"""Photographs that make a part of its own: two hang together by a single pair, which nothing confirms; chosen by
hand."""


def align(
    images: ImageSet,
    predictions: Mapping[Edge, PairPrediction],
    options: AlignOptions,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Scene:
    """Put all images into one frame so that the pointmaps of all pairs agree.

    The first of `align_parts`: images that no trustworthy pair joins to the largest group are not registered, and a
    warning names them.

    Args:
        images: the photographs.
        predictions: pointmaps by directed edge; read lazily from a `PredictionStore`, or a plain dictionary.
        options: see `AlignOptions`.
        seed: seed of the random starts.
        progress: called with (predictions read, predictions to read).

    Raises:
        ReconstructionError: no pair of photographs knows anything.
        PredictorError: a prediction was made for pictures of another size.
    """
    scene, sentences = next(_parts(images, predictions, options, seed, progress))
    return replace(scene, warnings=(*sentences, *scene.warnings))


def align_parts(
    images: ImageSet,
    predictions: Mapping[Edge, PairPrediction],
    options: AlignOptions,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Scene, ...]:
    """Align every group of photographs that trustworthy pairs join, each in a frame of its own.

    Predictions are read one at a time, once for a sample of their pixels and once for the depth maps, so that memory
    does not grow with full pointmaps of all pairs. Pairs that contradict the others get weight 0.

    Args:
        images: the photographs.
        predictions: pointmaps by directed edge; read lazily from a `PredictionStore`, or a plain dictionary.
        options: see `AlignOptions`.
        seed: seed of the random starts.
        progress: called with (predictions read, predictions to read).

    Returns:
        A scene of the largest group, and one of every other that has three photographs or more, largest first. All are
        of all images, with those of their group registered. Known poses and intrinsics of the views are in them as they
        are, and their world is theirs; without known poses it is the frame of the first registered camera. Their unit
        is that of two or more known poses, metres with `options.metric`, otherwise the mean edge's.

    Raises:
        ReconstructionError: no pair of photographs knows anything.
        PredictorError: a prediction was made for pictures of another size.
    """
    scenes = [scene for scene, _ in _parts(images, predictions, options, seed, progress)]
    return tuple(sorted(scenes, key=lambda scene: -int(scene.registered.sum())))


def _parts(
    images: ImageSet,
    predictions: Mapping[Edge, PairPrediction],
    options: AlignOptions,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[Scene, tuple[str, ...]]]:
    """Align the largest group, then the largest of what is left, and so on; with sentences about what is not in it."""
    phase("samples")
    samples = draw_samples(images, predictions, options.num_samples, _half(progress, 0, len(predictions)))
    if len(images) > 1 and not len(samples.edges):
        raise ReconstructionError(
            "No pair of photographs has known geometry; take photographs that overlap more, or try another predictor."
        )
    cameras = np.array([view.camera_group for view in images.views]) if options.shared_focal else np.arange(len(images))
    long_sides = np.array([float(max(view.network_size)) for view in images.views])
    known = known_cameras(images)
    focals = known_focals(images, cameras, focals_of_cameras(samples, cameras, long_sides))
    is_left = np.ones(len(images), bool)
    while True:
        joins = is_left[samples.edges].all(1)
        connected = largest_component(len(images), samples.edges[joins])
        is_first = bool(is_left.all())
        if not is_first and connected.sum() < _MIN_PART_IMAGES:
            return
        rng = np.random.default_rng(seed)
        phase("poses")
        aligned = align_component(samples, connected, focals, cameras, known, options, rng)
        # What is cut off from its group may hang together by itself.
        is_left &= ~aligned.images
        if not is_first and aligned.images.sum() < _MIN_PART_IMAGES:
            continue
        intrinsics = _intrinsics(images, focals, cameras, aligned, known)
        shown = progress if is_first else None
        phase("depths")
        depths, confidences = _depth_maps(images, predictions, samples, aligned, intrinsics, shown)
        scene = anchored(scene_of(images, samples, aligned, intrinsics, depths, confidences), images)
        yield scene, left_out(images, samples, aligned, connected)


def _intrinsics(
    images: ImageSet,
    focals: Float64[np.ndarray, " n"],
    cameras: Int64[np.ndarray, " n"],
    aligned: Aligned,
    known: Known,
) -> Float64[np.ndarray, "n 3 3"]:
    """Pinhole matrices in network pixels: those of the placement, and of its cameras for images outside it."""
    focals = focals.copy()
    for camera, focal in zip(cameras[aligned.images], aligned.placement.focals, strict=True):
        focals[cameras == camera] = focal
    intrinsics = np.tile(np.eye(3), (len(images), 1, 1))
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focals
    intrinsics[:, :2, 2] = principal_points(images)
    intrinsics[aligned.images, :2, 2] += aligned.placement.principal
    for index in np.flatnonzero(known.calibrated):
        intrinsics[index] = images.views[index].known_intrinsics
    return intrinsics


def _half(progress: Callable[[int, int], None] | None, start: int, total: int) -> Callable[[], None]:
    """Count the predictions read in one of the two passes."""
    done = start

    def step() -> None:
        nonlocal done
        done = min(done + 1, start + total)
        if progress is not None:
            progress(done, 2 * total)

    return step


def _depth_maps(
    images: ImageSet,
    predictions: Mapping[Edge, PairPrediction],
    samples: Samples,
    aligned: Aligned,
    intrinsics: Float64[np.ndarray, "n 3 3"],
    progress: Callable[[int, int], None] | None,
) -> tuple[tuple[Float32[np.ndarray, "_ _"], ...], tuple[Float32[np.ndarray, "_ _"], ...]]:
    """Solve all depth maps; images that are not placed get empty ones."""
    part = samples.select(aligned.images, aligned.edges)
    merits = information(part) * aligned.weights[:, None]
    sources = choose_sources(len(part.images), part.edges, merits, every=aligned.loss.width is None)
    step = _half(progress, len(predictions), len(predictions))
    position = np.cumsum(aligned.images) - 1
    pairs = PlacedPairs(
        images=images,
        predictions=predictions,
        edges=samples.edges[aligned.edges],
        placement=aligned.placement,
        weights=aligned.weights,
        loss=aligned.loss,
    )
    depths, confidences = [], []
    for index, view in enumerate(images.views):
        shape = view.network_size[::-1]
        depth, confidence = np.zeros(shape, np.float32), np.full(shape, NOTHING_KNOWN, np.float32)
        if aligned.images[index] and sources[position[index]]:
            within = int(position[index])
            depth, confidence = full_depth(pairs, within, intrinsics[index], sources[within], step)
        depths.append(depth)
        confidences.append(confidence)
    if progress is not None:
        progress(2 * len(predictions), 2 * len(predictions))
    return tuple(depths), tuple(confidences)
