"""Rough cameras become a start for the refinement: rotations averaged, centres solved, in the frame they came in.

The matches of the photographs decide; the given cameras say which photographs to match, what the lenses are like, which
pairs look alike without showing one place, and in which frame and scale the result stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dust3r_sfm.colmap.camera_models import cameras_of
from dust3r_sfm.colmap.images import without_images
from dust3r_sfm.colmap.model import image_of_id
from dust3r_sfm.correction.frame import given_from_found, moved, with_poses
from dust3r_sfm.correction.pairs import pairs_to_match
from dust3r_sfm.correction.positions import positioned
from dust3r_sfm.correction.relative import Relation, relate_pairs
from dust3r_sfm.correction.rotations import ROUGH_DEGREES, agreeing, averaged, contradictions
from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.grid import raw_from_upright
from dust3r_sfm.geometry.transforms import centres
from dust3r_sfm.refinement.state import RefinementState
from dust3r_sfm.registration.matcher import PairMatcher
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.system.progress import Step
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.types import NOTHING_KNOWN, ImageSet, Matches, Scene


@dataclass(frozen=True, kw_only=True)
class Start:
    """A part of the photographs, ready to be refined.

    Attributes:
        scene: its cameras as pinholes, without depths.
        state: the same in raw pixels, with the lenses that were given.
        matches: those that agree with a relative pose of their pair.
    """

    scene: Scene
    state: RefinementState
    matches: Sequence[Matches]


def correct(
    images: ImageSet, rough: Reconstruction, source: Path, match: PairMatcher, seed: int, step: Step
) -> list[Start]:
    """Correct rough cameras.

    Args:
        images: the photographs.
        rough: cameras and poses; its image ids are those of `id_of_image`.
        source: the file that they came from, for sentences.
        match: finds matches anywhere in two photographs.
        seed: of all sampling.
        step: called after each pair.

    Returns:
        Parts that no pair joins, the greatest first, in the frame of the rough cameras.

    Raises:
        InputError: no two photographs match, or most cameras contradict the photographs.
    """
    count = len(images)
    cameras = cameras_of(rough, count)
    posed: list[int] = np.flatnonzero(cameras.posed).tolist()
    pairs = pairs_to_match(cameras.cam_from_world[posed], posed, match)
    relations = relate_pairs(pairs, match, cameras, seed, step)
    if not relations:
        raise InputError(
            f"No two of the photographs in {images.root} show the same place by their keypoints; refine needs "
            "photographs that overlap.",
            path=images.root,
        )
    given = cameras.cam_from_world
    angles, wrong = contradictions(relations, given[:, :, :3])
    _refuse_contradicted(relations, wrong, source)
    trusted = [
        one
        for one, angle in zip(relations, angles.tolist(), strict=True)
        if angle <= ROUGH_DEGREES or wrong[one.matches.image1] or wrong[one.matches.image2]
    ]
    depths = _no_depths(images)
    starts = []
    for part in _parts(trusted, count):
        start = _corrected(part, images, rough, depths, wrong, seed)
        if start is not None:
            starts.append(start)
    if not starts:
        raise InputError(
            f"The photographs in {images.root} match too little to correct the cameras in {source}; give photographs "
            "that overlap more.",
            path=images.root,
        )
    return sorted(starts, key=lambda start: -int(start.scene.registered.sum()))


def _refuse_contradicted(relations: Sequence[Relation], wrong: Bool[np.ndarray, " n"], source: Path) -> None:
    paired = np.unique([(one.matches.image1, one.matches.image2) for one in relations])
    if 2 * wrong[paired].sum() > len(paired) and wrong[paired].sum() > 1:
        raise InputError(
            f"The poses in {source} are turned otherwise than {wrong[paired].sum()} of {len(paired)} photographs by "
            f"more than {ROUGH_DEGREES:.0f} degrees: they are those of other photographs, or in other axes than their "
            "format says; export them again.",
            path=source,
        )


def _parts(relations: Sequence[Relation], count: int) -> list[list[Relation]]:
    """The pairs of each set of photographs that pairs join."""
    edges = np.array([(one.matches.image1, one.matches.image2) for one in relations], np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    return [
        [one for one in relations if labels[one.matches.image1] == label] for label in np.unique(labels[edges[:, 0]])
    ]


def _corrected(
    relations: Sequence[Relation],
    images: ImageSet,
    rough: Reconstruction,
    depths: AlignedDepths,
    wrong: Bool[np.ndarray, " n"],
    seed: int,
) -> Start | None:
    """Rotations, then centres, of photographs that pairs join; None where no two of them agree."""
    members = _members(relations)
    given = cameras_of(rough, len(images)).cam_from_world
    rotations = averaged(relations, _only(rough, members), seed)
    if rotations is None:
        return None
    parts = _parts(agreeing(relations, rotations), len(images))
    if not parts:
        return None
    relations = max(parts, key=lambda part: len(_members(part)))
    members = _members(relations)
    turned = _in_given_frame(rotations[members], given[members], wrong[members])
    model = with_poses(_only(rough, members), dict(zip(members, turned, strict=True)))
    solved = positioned(model, relations, depths, seed)
    if solved is None:
        return None
    found = cameras_of(solved, len(images)).cam_from_world[members]
    right = ~wrong[members] if (~wrong[members]).sum() >= 2 else np.ones(len(members), bool)
    fit, _ = given_from_found(found[right], given[members][right])
    model = with_poses(model, dict(zip(members, moved(found, fit), strict=True)))
    matches = [one.matches for one in relations]
    state = RefinementState(model=model, depths=depths, trust_depths=False)
    return Start(scene=scene_of(images, state, matches), state=state, matches=matches)


def _members(relations: Sequence[Relation]) -> list[int]:
    """The photographs of some pairs, in order."""
    members: list[int] = np.unique([(one.matches.image1, one.matches.image2) for one in relations]).tolist()
    return members


def _only(model: Reconstruction, members: Sequence[int]) -> Reconstruction:
    return without_images(model, set(map(image_of_id, model.images)) - set(members))


def _in_given_frame(
    rotations: Float64[np.ndarray, "k 3 3"],
    given: Float64[np.ndarray, "k 3 4"],
    wrong: Bool[np.ndarray, " k"],
) -> Float64[np.ndarray, "k 3 4"]:
    """Averaged rotations in the world of the given cameras, at the given centres; wrong cameras amid the others."""
    right = ~wrong if (~wrong).any() else np.ones(len(wrong), bool)
    left, _, back = np.linalg.svd((np.swapaxes(given[right, :, :3], 1, 2) @ rotations[right]).sum(axis=0))
    given_from_averaged = left @ np.diag([1.0, 1.0, np.linalg.det(left @ back)]) @ back
    turned = rotations @ given_from_averaged.T
    places = centres(given)
    places[~right] = places[right].mean(axis=0)
    return np.concatenate([turned, -turned @ places[:, :, None]], axis=2)


def _no_depths(images: ImageSet) -> AlignedDepths:
    shapes = [view.network_size[::-1] for view in images.views]
    return AlignedDepths(
        depths=tuple(np.zeros(shape, np.float32) for shape in shapes),
        confidences=tuple(np.full(shape, NOTHING_KNOWN, np.float32) for shape in shapes),
        network_from_image=np.array([view.network_from_image for view in images.views]),
    )


def scene_of(images: ImageSet, state: RefinementState, matches: Sequence[Matches]) -> Scene:
    """The cameras of a state as pinholes on the network grid, joined by the pairs that match."""
    cameras, network_from_image = state.cameras, state.depths.network_from_image
    raw = raw_from_upright(network_from_image)
    edges = np.array([(pair.image1, pair.image2) for pair in matches], np.int64).reshape(-1, 2)
    return Scene(
        image_root=images.root,
        views=images.views,
        intrinsics=network_from_image @ cameras.matrices @ raw,
        cam_from_world=np.swapaxes(raw, 1, 2) @ cameras.cam_from_world,
        registered=cameras.posed,
        depths=state.depths.depths,
        confidences=state.depths.confidences,
        edges=edges,
        world_from_edge=np.tile(np.eye(4), (len(edges), 1, 1)),
        edge_weights=np.ones(len(edges)),
        edge_residuals=np.zeros(len(edges)),
    )
