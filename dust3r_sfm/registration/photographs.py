"""Photographs that the alignment left out, placed one by one in rounds among those that are refined."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dust3r_sfm.colmap.images import with_image, without_images
from dust3r_sfm.colmap.model import id_of_image
from dust3r_sfm.features.features import Features
from dust3r_sfm.features.guided import ProjectedKeypoints, SearchWindow, guided_matches
from dust3r_sfm.localization.pose import FocalState, query_camera
from dust3r_sfm.refinement.adjust import AdjustmentMask
from dust3r_sfm.refinement.state import RefinementState
from dust3r_sfm.registration.absolute import Attempt, Correspondences, attempt
from dust3r_sfm.registration.link import Link
from dust3r_sfm.registration.matcher import Remembered
from dust3r_sfm.registration.part import KnownPoints, Part
from dust3r_sfm.system._pycolmap import Camera
from dust3r_sfm.types import Matches, View

NUM_PARTNERS = 10
"""Images that a photograph is matched with, those that are most like it; chosen by hand."""

_FIRST_NETWORK_PX, _LAST_NETWORK_PX = 4.0, 1.5
"""Reprojection error up to which observations take part, with the first pose and from then on; chosen by hand."""

_ACROSS_RAW_PX, _DEPTH_OF_DEPTH = 4.0, 0.1
"""How far from its epipolar line, and from the place that the depth says, a keypoint of a placed photograph is looked
for; chosen by hand."""

_MIN_OBSERVED = 15
"""Triangulated points that a placed photograph must see after the adjustment; as few as agree on its pose."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What photographs are placed with.

    Attributes:
        match: finds matches anywhere in two photographs.
        features: keypoints of every image, matched once more where a placed photograph's pose says; may be empty.
        seed: of the sampling.
    """

    match: Remembered
    features: Sequence[Features] = ()
    seed: int = 0


def place_photographs(part: Part, waiting: Collection[int], tools: Tools) -> tuple[Part, dict[int, Link | None]]:
    """Try photographs against a part until none can be added, and adjust those that are while the rest stays.

    Args:
        part: refined.
        waiting: indices of the photographs to try.
        tools: matcher, keypoints and seed.

    Returns:
        The part with what was added, and of every photograph that was not its best link; None where it has none.
    """
    left: dict[int, Link | None] = dict.fromkeys(sorted(waiting))
    asked: dict[int, tuple[int, ...]] = {}
    while left:
        partners = {image: partners_of(part, image, tools) for image in left}
        # A photograph whose partners are still the same fails again.
        tried = [image for image in left if partners[image] != asked.get(image)]
        tools.match.look([(image, other) for image in tried for other in partners[image]])
        attempts = [_attempt(part, image, partners[image], tools) for image in tried]
        asked |= {image: partners[image] for image in tried}
        left |= {one.image: one.link for one in attempts}
        believed = [one for one in attempts if one.link is None and one.estimate is not None]
        sure = _one_of_each_camera(part, believed)
        part, placed = add_photographs(part, sure, tools)
        for one in sure:
            if one.image in placed:
                del left[one.image]
            else:
                left[one.image] = _not_held(one)
        deferred = {one.image for one in believed} - {one.image for one in sure}
        for image in deferred:  # another one of its camera was tried: it has its turn in the next round
            del asked[image]
        if not (placed or deferred):
            break
    return part, left


def partners_of(part: Part, image: int, tools: Tools) -> tuple[int, ...]:
    """The images of a part that are most like a photograph, best first."""
    others = [other for other in part.images if other != image]
    likeness = tools.match.likeness(image, others)
    best = np.argsort(-likeness, kind="stable")[:NUM_PARTNERS]
    return tuple(others[position] for position in best)


def _attempt(part: Part, image: int, partners: Sequence[int], tools: Tools) -> Attempt:
    pairs = [pair for other in partners if len((pair := tools.match(image, other)).xy1)]
    camera, focal = camera_for(part, image)
    raw_per_network = float(part.refinement.depths.raw_per_network[image])
    return attempt(image, Correspondences.of(part.points, pairs), camera, focal, raw_per_network, tools.seed)


def camera_for(part: Part, image: int) -> tuple[Camera, FocalState]:
    """The camera that a photograph was taken with: a refined one that it shares, a known one, or one to be found.

    A camera that the model does not have yet has the id 0.
    """
    views, model = part.scene.views, part.refinement.model
    shared = {
        int(model.images[id_of_image(other)].camera_id)
        for other in part.images
        if other != image and is_same_camera(views[other], views[image])
    }
    if len(shared) == 1:
        return model.cameras[shared.pop()], "known"
    camera, focal = query_camera(views[image], views[image].known_camera)
    camera.camera_id = 0
    return camera, focal


def is_same_camera(view: View, other: View) -> bool:
    """Whether two photographs were taken with one camera."""
    keys = ((one.camera_group, one.size, one.known_camera) for one in (view, other))
    return next(keys) == next(keys)


def _one_of_each_camera(part: Part, attempts: Sequence[Attempt]) -> list[Attempt]:
    """The surest first; of photographs that share a camera not found yet only one, as the others will take it over."""
    chosen: list[Attempt] = []
    new: set[int] = set()
    for one in sorted(attempts, key=lambda one: (-one.num_inliers, one.image)):
        group = part.scene.views[one.image].camera_group
        if camera_for(part, one.image)[1] != "known":
            if group in new:
                continue
            new.add(group)
        chosen.append(one)
    return chosen


def _not_held(one: Attempt) -> Link:
    best = max(one.supporting, key=lambda pair: len(pair.xy1))
    return Link(
        image1=one.image,
        image2=best.image2,
        num_agreeing=one.num_inliers,
        num_needed=_MIN_OBSERVED,
        why="their points cannot be triangulated",
    )


def add_photographs(part: Part, sure: Sequence[Attempt], tools: Tools) -> tuple[Part, set[int]]:
    """Add photographs at their poses, match them closely, adjust them alone, and keep those that see enough."""
    if not sure:
        return part, set()
    model, own_camera = part.refinement.model, []
    for one in sure:
        assert one.estimate is not None, "a sure attempt has a pose"
        camera, focal = camera_for(part, one.image)
        if focal != "known":
            camera.params = one.estimate.camera.params
            own_camera.append(one.image)
        model = with_image(model, one.image, part.scene.names[one.image], one.estimate.cam_from_world, camera)
    new = {one.image for one in sure}
    matches = [*part.refinement.matches, *(pair for one in sure for pair in one.supporting)]
    mask = _only(part, new, own_camera)
    state = replace(part.state, model=model).adjusted(matches, _FIRST_NETWORK_PX, mask)
    matches += _close_matches(state, part.points, sure, tools)
    state = state.until_converged(matches, _LAST_NETWORK_PX, mask)
    tracks = KnownPoints.of(state, matches).tracks
    counts = np.bincount(tracks.image_of, minlength=len(part.scene.names))
    held = {image for image in new if counts[image] >= _MIN_OBSERVED}
    lost = new - held
    kept = [pair for pair in matches if not lost & {pair.image1, pair.image2}]
    state = replace(state, model=without_images(state.model, lost))
    return part.refined(state, kept, sorted(held)), held


def _only(part: Part, moving: Collection[int], own_camera: Collection[int]) -> AdjustmentMask:
    """Only these images move, and the focal lengths of those whose camera is nobody else's."""
    every = np.arange(len(part.scene.names))
    return AdjustmentMask(known_cameras=~np.isin(every, list(own_camera)), known_poses=~np.isin(every, list(moving)))


def _close_matches(state: RefinementState, points: KnownPoints, sure: Sequence[Attempt], tools: Tools) -> list[Matches]:
    """Match keypoints of placed photographs once more, where poses and depths say."""
    if not tools.features:
        return []
    found = []
    for one in sure:
        for pair in one.supporting:
            found.append(_close_match(state, points, pair.image2, one.image, tools.features))
    return found


def _close_match(
    state: RefinementState, points: KnownPoints, known: int, new: int, features: Sequence[Features]
) -> Matches:
    cameras, depths = state.cameras, points.depths
    sights: Mapping[int, ProjectedKeypoints] = {
        index: ProjectedKeypoints(
            xy=cameras.on_plane(index, features[index].xy),
            depth=depths.at(index, features[index].xy),
            descriptors=features[index].unit_descriptors(),
        )
        for index in (known, new)
    }
    focal = float(cameras.matrices[new, (0, 1), (0, 1)].mean())
    window = SearchWindow(across=_ACROSS_RAW_PX / focal, depth=_DEPTH_OF_DEPTH)
    rows, similarity = guided_matches(sights[known], sights[new], cameras.relative(known, new), window)
    return Matches(
        image1=known,
        image2=new,
        xy1=features[known].xy[rows[:, 0]],
        xy2=features[new].xy[rows[:, 1]],
        confidence=similarity,
    )
