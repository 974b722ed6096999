"""Keypoint matches of all pairs that overlap: guided where the alignment is good, verified where it is rough."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from dust3r_sfm.colmap.camera_models import normalised
from dust3r_sfm.features.features import Features
from dust3r_sfm.features.guided import ProjectedKeypoints, SearchWindow, guided_matches
from dust3r_sfm.features.overlap import overlapping_pairs
from dust3r_sfm.features.verified import verified_matches
from dust3r_sfm.refinement.estimate import Estimate, depths_at
from dust3r_sfm.system.parallel import num_cores
from dust3r_sfm.system.progress import Step
from dust3r_sfm.types import Edge, Matches, Scene

ROUGH = 0.006
"""Pairs that were aligned with a larger residual, over depth, do not say where to look."""

_NUM_NEIGHBOURS = 12
"""Each image is matched with so many of those it overlaps most, beside its aligned pairs."""

_ACROSS = (0.011, 0.03)
_DEPTH = 0.06
"""Least and largest width of the gate in units of the focal length, and its least share of the depth: keypoints lie
beside the pixels that were aligned."""

_BESIDE = 0.15
"""Share of a picture by which a place of a rough alignment may miss it."""

_MAX_ANYWHERE = 4_096
"""Keypoints of an image that are compared with all of another; where to look for the rest is known afterwards."""

_PIXELS = 2.0
"""Largest distance from the epipolar line of adjusted cameras, in raw pixels."""

_MAX_DEPTH = 0.5
"""Largest share of the depth that a place may be off by then."""

_ENOUGH = 200
"""Images with fewer keypoint matches are adjusted with the matches of their pointmaps too."""


def is_rough(scene: Scene) -> bool:
    """Whether the alignment of most pairs is too rough to guide matching and to judge points by depth."""
    return _usual_residual(scene) > ROUGH


def match_keypoints(
    estimate: Estimate, features: Sequence[Features], step: Step = lambda done, total: None
) -> list[Matches]:
    """Match the keypoints of overlapping images, where the aligned depth allows.

    Args:
        estimate: the alignment.
        features: keypoints of every image of the scene.
        step: called after each pair.
    """
    scene = estimate.scene
    residual, usual = _residuals(scene), _usual_residual(scene)

    def match(pair: Edge) -> Matches:
        expected = residual.get(pair, usual)
        if expected > ROUGH:
            return _verified(estimate, features, pair)
        gate = SearchWindow(across=float(np.clip(4 * expected, *_ACROSS)), depth=max(10 * expected, _DEPTH))
        return _guided(estimate, features, pair, gate)

    return _of_pairs(overlapping_pairs(scene, _NUM_NEIGHBOURS), match, step)


def rematch_keypoints(
    estimate: Estimate, features: Sequence[Features], step: Step = lambda done, total: None
) -> list[Matches]:
    """Match once more with adjusted cameras: close to the epipolar line, and where each image's scaled depth allows.

    Args:
        estimate: adjusted cameras, and the tracks that say how well the aligned depths fit them.
        features: keypoints of every image of the scene.
        step: called after each pair.
    """
    scaled = replace(estimate, scene=estimate.rescaled())
    depth = float(np.clip(np.percentile(scaled.depth_errors(), 95), _DEPTH, _MAX_DEPTH))

    def match(pair: Edge) -> Matches:
        gate = SearchWindow(across=_PIXELS / scaled.camera(pair[1]).mean_focal_length(), depth=depth)
        return _guided(scaled, features, pair, gate)

    return _of_pairs(overlapping_pairs(scaled.scene, _NUM_NEIGHBOURS), match, step)


def _of_pairs(pairs: Sequence[Edge], match: Callable[[Edge], Matches], step: Step) -> list[Matches]:
    """Match pairs in threads; the result does not depend on their number."""
    found = []
    with ThreadPoolExecutor(num_cores()) as pool:
        for matches in pool.map(match, pairs):
            found.append(matches)
            step(len(found), len(pairs))
    return found


def _guided(estimate: Estimate, features: Sequence[Features], pair: Edge, gate: SearchWindow) -> Matches:
    sight1, sight2 = (_sight(estimate, features[index], index) for index in pair)
    chosen, similarity = guided_matches(sight1, sight2, _relative(estimate, *pair), gate)
    return _matches(features, pair, chosen, similarity)


def _verified(estimate: Estimate, features: Sequence[Features], pair: Edge) -> Matches:
    """Match the keypoints that may lie in both pictures."""
    i, j = pair
    rows1, rows2 = (_most_telling(features[a], _may_be_seen(estimate, features[a], a, b)) for a, b in ((i, j), (j, i)))
    part1, part2 = features[i].of(rows1), features[j].of(rows2)
    chosen, similarity = verified_matches(part1, part2, seed=i * len(features) + j)
    chosen = np.column_stack([rows1[chosen[:, 0]], rows2[chosen[:, 1]]])
    return _matches(features, pair, chosen, similarity)


def _most_telling(features: Features, usable: Bool[np.ndarray, " k"]) -> Int64[np.ndarray, " r"]:
    """The keypoints with the highest scores, in their order; of equal ones the last, where COLMAP has coarse ones."""
    rows = np.flatnonzero(usable)
    return np.sort(rows[np.argsort(features.scores[rows], kind="stable")[-_MAX_ANYWHERE:]])


def _may_be_seen(estimate: Estimate, features: Features, index: int, other: int) -> Bool[np.ndarray, " k"]:
    """Which keypoints of an image lie in another picture, or not far beside it, as far as their depth is known."""
    depth = depths_at(estimate.scene, index, features.xy)
    camera = estimate.camera(other)
    other_from_image = _relative(estimate, index, other)
    xy = normalised(estimate.camera(index), features.xy)
    places = (np.column_stack([xy, np.ones(len(xy))]) * depth[:, None]) @ other_from_image[:, :3].T + other_from_image[
        :, 3
    ]
    in_front = places[:, 2] > 0
    xy = places[:, :2] / np.where(in_front, places[:, 2], 1.0)[:, None]
    size = np.array([camera.width, camera.height])
    share = (xy * camera.calibration_matrix()[(0, 1), (0, 1)] + camera.calibration_matrix()[:2, 2]) / size
    near: Bool[np.ndarray, " k"] = in_front & np.all(np.abs(share - 0.5) <= 0.5 + _BESIDE, axis=1)
    return near | (depth <= 0)


def _matches(features: Sequence[Features], pair: Edge, chosen: np.ndarray, similarity: np.ndarray) -> Matches:
    xy1, xy2 = features[pair[0]].xy[chosen[:, 0]], features[pair[1]].xy[chosen[:, 1]]
    return Matches(image1=pair[0], image2=pair[1], xy1=xy1, xy2=xy2, confidence=similarity)


def of_weak_images(found: Sequence[Matches], matches: Sequence[Matches], num_images: int) -> list[Matches]:
    """Pointmap matches of the images that have few keypoint matches."""
    counts = np.zeros(num_images, dtype=np.int64)
    for pair in matches:
        counts[[pair.image1, pair.image2]] += len(pair.xy1)
    weak = counts < _ENOUGH
    return [pair for pair in found if weak[pair.image1] or weak[pair.image2]]


def _sight(estimate: Estimate, features: Features, index: int) -> ProjectedKeypoints:
    """An image's keypoints as its camera sees them; made per pair, as those of all images would fill the memory."""
    return ProjectedKeypoints(
        xy=normalised(estimate.camera(index), features.xy),
        depth=depths_at(estimate.scene, index, features.xy),
        descriptors=features.unit_descriptors(),
    )


def _relative(estimate: Estimate, i: int, j: int) -> Any:
    image1, image2 = estimate.model.images[i + 1], estimate.model.images[j + 1]
    return (image2.cam_from_world() * image1.cam_from_world().inverse()).matrix()


def _residuals(scene: Scene) -> dict[Edge, float]:
    """Smallest residual of each unordered pair that was aligned."""
    residuals: dict[Edge, float] = {}
    kept = scene.edge_weights > 0
    for (i, j), residual in zip(scene.edges[kept].tolist(), scene.edge_residuals[kept].tolist(), strict=True):
        pair = (min(i, j), max(i, j))
        residuals[pair] = min(residual, residuals.get(pair, np.inf))
    return residuals


def _usual_residual(scene: Scene) -> float:
    residuals = list(_residuals(scene).values())
    return float(np.median(residuals)) if residuals else 0.0
