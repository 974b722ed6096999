"""No photograph left behind: parts are joined, and photographs placed, where keypoints say clearly how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dust3r_sfm.features.features import Features
from dust3r_sfm.refinement.adjust import AdjustmentMask
from dust3r_sfm.refinement.held_out import epipolar_errors, is_better
from dust3r_sfm.refinement.match import of_weak_images
from dust3r_sfm.registration.contested import place_contested
from dust3r_sfm.registration.join import join
from dust3r_sfm.registration.link import Link
from dust3r_sfm.registration.matcher import PairMatcher, Remembered
from dust3r_sfm.registration.part import Part
from dust3r_sfm.registration.photographs import Tools, place_photographs
from dust3r_sfm.system.progress import phase

_LAST_NETWORK_PX = 1.5
"""Reprojection error of an observation of the last adjustment; that of the refinement."""

_WORSE_OF_ERROR = 0.1
"""By what share the epipolar errors of old matches may grow when new photographs take part; chosen by hand."""


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
        seed: of the sampling.
    """
    phase("photographs left out")
    tools = Tools(match=Remembered(match), features=features, seed=seed)
    left: dict[int, Link | None] = dict.fromkeys(range(len(parts[0].scene.names)))
    for image in (image for part in parts for image in part.images):
        left.pop(image, None)
    # A pose that the user gave would not stay what it is.
    posed = [view.known_cam_from_world is not None for view in parts[0].scene.views]
    queue, finished = [place_contested(part, tools) for part in parts], list[tuple[Part, Link | None]]()
    links: dict[tuple[int, ...], Link | None] = {}
    while queue:
        part = queue.pop(0)
        link = links.get(tuple(part.images))
        while True:
            part, tried = place_photographs(part, [image for image in left if not posed[image]], tools)
            left = {
                image: _better(link_before, tried.get(image))
                for image, link_before in left.items()
                if image in tried or posed[image]
            }
            results = ((position, other, join(part, other, tools)) for position, other in enumerate(queue))
            for position, other, result in results:
                if isinstance(result, Part):
                    part = result
                    queue.pop(position)
                    break
                links[tuple(other.images)] = _better(links.get(tuple(other.images)), result)
            else:
                break
        finished.append((_settled(part), link))
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


def _settled(part: Part) -> Part:
    """Adjust all cameras of a part that has grown together, if matches that it had before then agree no worse."""
    if not (part.added and part.refinement.applied):
        return part
    matches, mask = part.refinement.matches, replace(AdjustmentMask.of(part.scene), distortion=True)
    every = [*matches, *of_weak_images(part.found, matches, len(part.scene.names))]
    state = part.state.until_converged(every, _LAST_NETWORK_PX, mask).adjusted(every, _LAST_NETWORK_PX, mask, last=True)
    old = [pair for pair in matches if not {pair.image1, pair.image2} & set(part.added)]
    before, after = (epipolar_errors(cameras, old) for cameras in (part.state.cameras, state.cameras))
    # More constraints always cost the old matches a little.
    return part if is_better(after, (1 + _WORSE_OF_ERROR) * before) else part.refined(state, matches)
