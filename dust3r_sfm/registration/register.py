"""No photograph left behind: parts are joined, and photographs placed, where keypoints say clearly how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dust3r_sfm.features.features import Features
from dust3r_sfm.options import RefineOptions
from dust3r_sfm.refinement.adjust import AdjustmentMask
from dust3r_sfm.refinement.choose_camera import select_camera_model
from dust3r_sfm.refinement.held_out import epipolar_errors, hold_out, is_better
from dust3r_sfm.refinement.match import of_weak_images
from dust3r_sfm.registration.contested import place_contested
from dust3r_sfm.registration.join import join
from dust3r_sfm.registration.link import Link
from dust3r_sfm.registration.matcher import PairMatcher, Remembered
from dust3r_sfm.registration.part import Part
from dust3r_sfm.registration.photographs import Tools, place_photographs

_NEXT_NETWORK_PX, _LAST_NETWORK_PX = 2.0, 1.5
"""Reprojection error of an observation while the camera model is chosen, and from then on; those of the refinement."""

_DEFAULT = RefineOptions()


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What registering came to.

    Attributes:
        parts: one model each, the one with most photographs first.
        left_out: for each image in no part, its best link; None where nothing matches.
        apart: for each part but the first, its best link to a greater one; None where nothing matches.
    """

    parts: tuple[Part, ...]
    left_out: Mapping[int, Link | None]
    apart: tuple[Link | None, ...]


def register(
    parts: Sequence[Part],
    match: PairMatcher,
    features: Sequence[Features] = (),
    options: RefineOptions = _DEFAULT,
    seed: int = 0,
) -> Registration:
    """Join refined parts and place photographs that are in none, as far as matches say clearly where.

    Photographs are tried against the points of a part's keypoints and depths (absolute pose, pycolmap's LO-RANSAC),
    adjusted while the rest stays, and help to place others; rounds end when nothing is added. Parts are joined by a
    similarity between the points of matched keypoints. Whatever stays doubtful stays out: a photograph at a wrong place
    is worse than one that is missing.

    Args:
        parts: refined, the greatest first; all of one image set.
        match: finds matches anywhere in two photographs.
        features: keypoints of every image, to match placed photographs once more where their poses say; may be empty.
        options: how a part that has grown is refined.
        seed: of the sampling.
    """
    tools = Tools(match=Remembered(match), features=features, seed=seed)
    left: dict[int, Link | None] = dict.fromkeys(range(len(parts[0].scene.names)))
    for image in (image for part in parts for image in part.images):
        left.pop(image, None)
    queue, finished = [place_contested(part, tools) for part in parts], list[tuple[Part, Link | None]]()
    links: dict[tuple[int, ...], Link | None] = {}
    while queue:
        part = queue.pop(0)
        link = links.get(tuple(part.images))
        while True:
            part, tried = place_photographs(part, left, tools)
            left = {image: _better(left[image], found) for image, found in tried.items()}
            results = ((position, other, join(part, other, tools)) for position, other in enumerate(queue))
            for position, other, result in results:
                if isinstance(result, Part):
                    part = result
                    queue.pop(position)
                    break
                links[tuple(other.images)] = _better(links.get(tuple(other.images)), result)
            else:
                break
        finished.append((_settled(part, options), link))
    finished.sort(key=lambda item: -len(item[0].images))
    (first, instead), *others = finished
    return Registration(
        parts=(first, *(part for part, _ in others)),
        left_out=left,
        apart=tuple(link or instead for _, link in others),
    )


def _better(link: Link | None, other: Link | None) -> Link | None:
    """The one of two links with more matches that agree."""
    if link is None or other is None:
        return link or other
    return other if other.num_agreeing > link.num_agreeing else link


def _settled(part: Part, options: RefineOptions) -> Part:
    """Refine a part that has grown as a whole, if matches that it had before then agree no worse.

    The camera model is chosen once more: with photographs missing, or one at a wrong place, another may have fitted.
    """
    if not (part.added and part.refinement.applied):
        return part
    matches, mask = part.refinement.matches, AdjustmentMask.of(part.scene)
    every = [*matches, *of_weak_images(part.found, matches, len(part.scene.names))]
    shown, held_out = hold_out(every)
    state, mask, _ = select_camera_model(part.state, shown, held_out, mask, options, _NEXT_NETWORK_PX)
    state = state.until_converged(every, _LAST_NETWORK_PX, mask).adjusted(every, _LAST_NETWORK_PX, mask, last=True)
    old = [pair for pair in matches if not {pair.image1, pair.image2} & set(part.added)]
    before, after = (epipolar_errors(cameras, old) for cameras in (part.state.cameras, state.cameras))
    return part if is_better(after, before) else part.refined(state, matches)
