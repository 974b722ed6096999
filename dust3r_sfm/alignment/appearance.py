"""Do photographs look alike where an aligned scene says that they show the same surface?"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from dust3r_sfm.geometry.pinhole import project, unproject
from dust3r_sfm.geometry.transforms import apply, centres, compose, invert
from dust3r_sfm.images.load import load_pixels
from dust3r_sfm.types import Edge, Scene, View

_STRIDE_NETWORK_PX = 2
"""Pictures are compared at half the size of the network grid; chosen by hand."""
_WINDOW_PX = 9
"""Side of the windows that are correlated, in pixels of that grid; chosen by hand."""
_MIN_CONTRAST_OF_255 = 6.0
"""Standard deviation of the grey values in a window, below which it shows nothing to compare; chosen by hand."""
_UNLIKE_CORRELATION = 0.2
"""Normalized correlation below which two windows show different things; chosen by hand."""
_SURE_CONFIDENCE = 1.5
"""Confidence of depths that are measured, not guessed; chosen by hand."""
_SAME_DEPTH_LOG = 0.03
"""Difference of log-depths at which two depth maps show the same surface; chosen by hand."""
_WHOLE_OF_WINDOW = 0.8
"""Share of a window that must lie on that surface; chosen by hand."""
_MAX_TURN_DEGREES = 30.0
"""Angle at a point between the views, above which flat windows of a right pair differ too; chosen by hand: below it at
most 0.27 of the windows of a pair differ in seven aligned sets of photographs, and in pairs that share more than
`_MIN_COMPARED_OF_PICTURE` 0.17."""
_MIN_COMPARED_OF_PICTURE = 0.03
"""Share of a picture that must be compared for a judgement; chosen by hand."""
_UNLIKE_OF_COMPARED = 0.2
"""Share of the compared windows that differ, from which a pair cannot show one surface; chosen by hand."""
_NUM_NEIGHBOURS = 4
"""Nearest photographs that each is compared with beside those it has pairs with; chosen by hand."""
_MAX_NUM_PAIRS = 1000
"""Pairs that are compared at most, 20 milliseconds each; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Unlike:
    """Two photographs that an aligned scene shows the same surface and that look different there.

    Attributes:
        pair: their indices i < j.
        share: of the compared windows that differ.
        is_held: whether a pair of pointmaps that counts in the scene says that they see the same.
    """

    pair: Edge
    share: float
    is_held: bool


def unlike_pairs(scene: Scene) -> list[Unlike]:
    """Find photographs that differ where they should not, the worst first.

    Repeated structure glues photographs of different places: part of them agrees, and the rest, although the depth maps
    lie on one surface, shows something else. Only depths that both photographs measured (each with partners of its own)
    are compared, seen from directions less than 30 degrees apart, by correlation, which does not mind brighter light.
    Nothing is found where a photograph's file is missing.
    """
    if not all(view.path.is_file() for view in scene.views):
        return []
    held = {(min(edge), max(edge)) for edge in map(tuple, scene.edges[scene.edge_weights > 0].tolist())}
    found, pictures = [], {}
    for pair in _candidates(scene, held):
        for image in pair:
            if image not in pictures:
                pictures[image] = _grey(scene.views[image])
        counts = [_compare(scene, pictures, *edge) for edge in (pair, pair[::-1])]
        compared, unlike = (sum(each) for each in zip(*counts, strict=True))
        size = sum(pictures[image].size for image in pair)
        if compared > _MIN_COMPARED_OF_PICTURE * size and unlike > _UNLIKE_OF_COMPARED * compared:
            found.append(Unlike(pair=pair, share=unlike / compared, is_held=pair in held))
    return sorted(found, key=lambda each: -each.share)


def _candidates(scene: Scene, held: set[Edge]) -> list[Edge]:
    """Pairs that look the same way: those that hold the scene, and each image's nearest neighbours."""
    places, axes = centres(scene.cam_from_world), scene.cam_from_world[:, 2, :3]
    inside = np.flatnonzero(scene.registered)
    wanted = set(held)
    for image in inside:
        others = inside[(inside != image) & (axes[inside] @ axes[image] > np.cos(np.radians(_MAX_TURN_DEGREES)))]
        nearest = others[np.argsort(np.linalg.norm(places[others] - places[image], axis=1), kind="stable")]
        wanted |= {(min(int(image), int(j)), max(int(image), int(j))) for j in nearest[:_NUM_NEIGHBOURS]}
    pairs = sorted(wanted)
    chosen = np.linspace(0, len(pairs) - 1, min(len(pairs), _MAX_NUM_PAIRS)).astype(int)
    return [pairs[index] for index in chosen]


def _grey(view: View) -> Float32[np.ndarray, "h w"]:
    """Load a photograph on the network grid, smoothed and thinned."""
    grey = cv2.cvtColor(load_pixels(view), cv2.COLOR_RGB2GRAY)
    thinned = cv2.GaussianBlur(grey, (0, 0), 0.5 * _STRIDE_NETWORK_PX)[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX]
    return np.ascontiguousarray(thinned, np.float32)


def _compare(scene: Scene, pictures: dict[int, Float32[np.ndarray, "_ _"]], first: int, second: int) -> tuple[int, int]:
    """Count the windows of the first photograph that the second shows too, and those that differ."""
    part = np.s_[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX]
    sure = scene.confidences[first][part]
    other_depth, other_sure = (np.ascontiguousarray(maps[second][part]) for maps in (scene.depths, scene.confidences))
    second_from_first = compose(scene.cam_from_world[second], invert(scene.cam_from_world[first]))
    points = unproject(scene.depths[first], scene.intrinsics[first])[part]
    moved = apply(second_from_first, points)
    z = moved[..., 2]
    # OpenCV counts from the middle of the first pixel; NaN, behind the camera, is outside.
    thinned = (project(moved, scene.intrinsics[second]) - 0.5) / _STRIDE_NETWORK_PX
    x, y = (np.nan_to_num(thinned[..., axis], nan=-1e4).astype(np.float32) for axis in (0, 1))
    to_second = points - invert(second_from_first)[:, 3]
    lengths = np.linalg.norm(points, axis=-1) * np.linalg.norm(to_second, axis=-1)
    near = (points * to_second).sum(-1) > np.cos(np.radians(_MAX_TURN_DEGREES)) * lengths
    seen = near & (sure > _SURE_CONFIDENCE) & (z > 0)
    there_depth, there_sure = (cv2.remap(each, x, y, cv2.INTER_NEAREST) for each in (other_depth, other_sure))
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.abs(np.log(there_depth / z))
    same = seen & (there_sure > _SURE_CONFIDENCE) & (off < _SAME_DEPTH_LOG)
    there = cv2.remap(pictures[second], x, y, cv2.INTER_LINEAR)
    correlation, contrast = _correlate(pictures[first], there)
    whole = _mean(same.astype(np.float32)) > _WHOLE_OF_WINDOW
    compared: Bool[np.ndarray, "h w"] = same & whole & (contrast > _MIN_CONTRAST_OF_255)
    return int(compared.sum()), int((compared & (correlation < _UNLIKE_CORRELATION)).sum())


def _correlate(
    first: Float32[np.ndarray, "h w"], second: Float32[np.ndarray, "h w"]
) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Normalized correlation of the windows around each pixel, and the smaller of their contrasts."""
    mean1, mean2 = _mean(first), _mean(second)
    deviation1, deviation2 = (
        np.sqrt(np.maximum(_mean(each * each) - mean * mean, 1e-6)) for each, mean in ((first, mean1), (second, mean2))
    )
    correlation = (_mean(first * second) - mean1 * mean2) / (deviation1 * deviation2)
    return correlation, np.minimum(deviation1, deviation2)


def _mean(plane: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    return np.asarray(cv2.boxFilter(plane, -1, (_WINDOW_PX, _WINDOW_PX)))
