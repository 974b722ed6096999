"""Keypoint matches of all pairs that overlap: guided where the alignment is good, verified where it is coarse."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.features.features import Features
from dust3r_sfm.features.guided import ProjectedKeypoints, SearchWindow, guided_matches
from dust3r_sfm.features.overlap import overlapping_pairs
from dust3r_sfm.features.verified import verified_matches
from dust3r_sfm.geometry.transforms import apply
from dust3r_sfm.refinement.state import RefinementState, depth_errors
from dust3r_sfm.system.parallel import num_cores
from dust3r_sfm.system.progress import Step, phase
from dust3r_sfm.tracks.cameras import PosedCameras
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.tracks.sparse_depths import interpolated_depths
from dust3r_sfm.types import Edge, Matches, Scene

_COARSE_OF_DEPTH = 0.004
"""Pairs that were aligned with a larger residual do not say where to look. It lies between the median pairs of fox_a,
sceaux_castle, strecha_fountain_p11 and strecha_herzjesu_p8 (at most 0.0026) and those of sacre_coeur and opensfm_lund
(at least 0.0048); measured: `edge_residuals` in the scene.h5 of benchmarks/against_colmap.py, 2026-11-28."""

_NUM_NEIGHBOURS = 12
"""Each image is matched with so many of those it overlaps most, beside its aligned pairs; chosen by hand."""

_RESIDUALS_ACROSS, _RESIDUALS_ALONG = 4.0, 10.0
"""Half the width of the gate in residuals of the pair, across and along the epipolar line; chosen by hand."""

_ACROSS_OF_FOCAL = (0.011, 0.03)
_DEPTH_OF_DEPTH = 0.06
"""Least and largest width of the gate in units of the focal length, and its least share of the depth, as keypoints lie
beside the pixels that were aligned; chosen by hand."""

_BESIDE_OF_PICTURE = 0.15
"""Share of a picture by which a place of a coarse alignment may miss it; chosen by hand."""

_MAX_ANYWHERE = 4_096
"""Keypoints of an image that are compared with all of another, chosen by hand; where to look for the rest is known
afterwards."""

_ACROSS_RAW_PX = 2.0
"""Largest distance from the epipolar line of adjusted cameras; chosen by hand."""

_DEPTH_PERCENTILE, _MAX_DEPTH_OF_DEPTH = 95, 0.5
"""The share of the depth that a place may be off by then is this percentile of the depths' errors, up to a largest one;
chosen by hand."""

_ENOUGH_MATCHES = 200
"""Images with fewer keypoint matches are adjusted with the matches of their pointmaps too; chosen by hand."""

AlignedPairs = Mapping[Edge, float]
"""Residual, over depth, of each unordered pair (i, j), i < j, that was aligned."""


def aligned_pairs(scene: Scene) -> AlignedPairs:
    """The pairs that a scene was aligned by, with the smaller residual of their directions."""
    residuals: dict[Edge, float] = {}
    kept = scene.edge_weights > 0
    for (i, j), residual in zip(scene.edges[kept].tolist(), scene.edge_residuals[kept].tolist(), strict=True):
        pair = (min(i, j), max(i, j))
        residuals[pair] = min(residual, residuals.get(pair, np.inf))
    return residuals


def has_coarse_alignment(aligned: AlignedPairs) -> bool:
    """Whether the alignment of most pairs is too coarse to guide matching and to judge points by depth."""
    return _usual_residual(aligned) > _COARSE_OF_DEPTH


def match_keypoints(
    state: RefinementState,
    aligned: AlignedPairs,
    features: Sequence[Features],
    step: Step = lambda done, total: None,
) -> list[Matches]:
    """Match the keypoints of overlapping images, where the aligned depth allows.

    Args:
        state: the cameras of the alignment.
        aligned: says how precisely each pair is aligned.
        features: keypoints of every image of the scene.
        step: called after each pair.
    """
    phase("matches")
    usual = _usual_residual(aligned)

    def match(pair: Edge) -> Matches:
        expected = aligned.get(pair, usual)
        if expected > _COARSE_OF_DEPTH:
            return _verified(state.cameras, state.depths, features, pair)
        gate = SearchWindow(
            across=float(np.clip(_RESIDUALS_ACROSS * expected, *_ACROSS_OF_FOCAL)),
            depth=max(_RESIDUALS_ALONG * expected, _DEPTH_OF_DEPTH),
        )
        return _guided(state.cameras, state.depths, features, pair, gate)

    return _of_pairs(overlapping_pairs(state.cameras, state.depths, aligned, _NUM_NEIGHBOURS), match, step)


def rematch_keypoints(
    state: RefinementState,
    aligned: AlignedPairs,
    features: Sequence[Features],
    step: Step = lambda done, total: None,
) -> list[Matches]:
    """Match once more with adjusted cameras: close to the epipolar line, and where each image's scaled depth allows.

    Args:
        state: adjusted cameras, and the tracks that say how well the aligned depths fit them.
        aligned: pairs that are matched in any case.
        features: keypoints of every image of the scene.
        step: called after each pair.
    """
    phase("matches, again")
    depths, errors = _guide(state)
    depth = float(np.clip(np.percentile(errors, _DEPTH_PERCENTILE), _DEPTH_OF_DEPTH, _MAX_DEPTH_OF_DEPTH))

    def match(pair: Edge) -> Matches:
        focal = float(state.cameras.matrices[pair[1], (0, 1), (0, 1)].mean())
        gate = SearchWindow(across=_ACROSS_RAW_PX / focal, depth=depth)
        return _guided(state.cameras, depths, features, pair, gate)

    return _of_pairs(overlapping_pairs(state.cameras, depths, aligned, _NUM_NEIGHBOURS), match, step)


def _guide(state: RefinementState) -> tuple[AlignedDepths, Float64[np.ndarray, " r"]]:
    """Depths that say where to look, and how far they are off: aligned ones, else those between triangulated points."""
    if any(depth.any() for depth in state.depths.depths):
        depths = state.rescaled()
        return depths, depth_errors(state.cameras, depths, state.tracks)
    tracks = state.tracks
    every_second = tracks.track_of % 2 == 0  # what half of the points say of the others
    halves = tracks.take(every_second), tracks.take(~every_second)
    errors = depth_errors(state.cameras, interpolated_depths(state.cameras, state.depths, halves[0]), halves[1])
    return interpolated_depths(state.cameras, state.depths, tracks), errors


def of_weak_images(found: Sequence[Matches], matches: Sequence[Matches], num_images: int) -> list[Matches]:
    """Pointmap matches of the images that have few keypoint matches."""
    counts = np.zeros(num_images, dtype=np.int64)
    for pair in matches:
        counts[[pair.image1, pair.image2]] += len(pair.xy1)
    weak = counts < _ENOUGH_MATCHES
    return [pair for pair in found if weak[pair.image1] or weak[pair.image2]]


def _of_pairs(pairs: Sequence[Edge], match: Callable[[Edge], Matches], step: Step) -> list[Matches]:
    """Match pairs in threads; the result does not depend on their number."""
    found = []
    with ThreadPoolExecutor(num_cores()) as pool:
        for matches in pool.map(match, pairs):
            found.append(matches)
            step(len(found), len(pairs))
    return found


def _guided(
    cameras: PosedCameras, depths: AlignedDepths, features: Sequence[Features], pair: Edge, gate: SearchWindow
) -> Matches:
    """Match keypoints where depth allows; made per pair, as what all cameras see would fill the memory."""
    sight1, sight2 = (
        ProjectedKeypoints(
            xy=cameras.on_plane(index, features[index].xy),
            depth=depths.at(index, features[index].xy),
            descriptors=features[index].unit_descriptors(),
        )
        for index in pair
    )
    chosen, similarity = guided_matches(sight1, sight2, cameras.relative(*pair), gate)
    return _matches(features, pair, chosen, similarity)


def _verified(cameras: PosedCameras, depths: AlignedDepths, features: Sequence[Features], pair: Edge) -> Matches:
    """Match the keypoints that may lie in both pictures."""
    i, j = pair
    rows1, rows2 = (
        _most_telling(features[a], _may_be_seen(cameras, depths, features[a], a, b)) for a, b in ((i, j), (j, i))
    )
    part1, part2 = features[i].of(rows1), features[j].of(rows2)
    chosen, similarity = verified_matches(part1, part2, seed=i * len(features) + j)
    chosen = np.column_stack([rows1[chosen[:, 0]], rows2[chosen[:, 1]]])
    return _matches(features, pair, chosen, similarity)


def _most_telling(features: Features, usable: Bool[np.ndarray, " k"]) -> Int64[np.ndarray, " r"]:
    """The keypoints with the highest scores, in their order; of equal ones the last, where COLMAP has coarse ones."""
    rows = np.flatnonzero(usable)
    return np.sort(rows[np.argsort(features.scores[rows], kind="stable")[-_MAX_ANYWHERE:]])


def _may_be_seen(
    cameras: PosedCameras, depths: AlignedDepths, features: Features, index: int, other: int
) -> Bool[np.ndarray, " k"]:
    """Which keypoints of an image lie in another picture, or not far beside it, as far as their depth is known."""
    depth, matrix = depths.at(index, features.xy), cameras.matrices[other]
    rays = np.column_stack([cameras.on_plane(index, features.xy), np.ones(len(depth))])
    places = apply(cameras.relative(index, other), rays * depth[:, None])
    in_front = places[:, 2] > 0
    xy = places[:, :2] / np.where(in_front, places[:, 2], 1.0)[:, None]
    share = (xy * matrix[(0, 1), (0, 1)] + matrix[:2, 2]) / cameras.sizes[other]
    near: Bool[np.ndarray, " k"] = in_front & np.all(np.abs(share - 0.5) <= 0.5 + _BESIDE_OF_PICTURE, axis=1)
    return near | (depth <= 0)


def _matches(
    features: Sequence[Features], pair: Edge, chosen: Int64[np.ndarray, "m 2"], similarity: np.ndarray
) -> Matches:
    xy1, xy2 = features[pair[0]].xy[chosen[:, 0]], features[pair[1]].xy[chosen[:, 1]]
    return Matches(image1=pair[0], image2=pair[1], xy1=xy1, xy2=xy2, confidence=similarity)


def _usual_residual(aligned: AlignedPairs) -> float:
    return float(np.median(list(aligned.values()))) if aligned else 0.0
