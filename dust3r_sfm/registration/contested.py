"""Photographs that hang on little and stand where other matches say that they are not: they are placed anew."""

from dataclasses import replace

import numpy as np
from jaxtyping import Int64

from dust3r_sfm.colmap.images import without_images
from dust3r_sfm.colmap.model import id_of_image
from dust3r_sfm.localization.pose import PoseEstimate
from dust3r_sfm.registration.absolute import Correspondences, attempt, judged
from dust3r_sfm.registration.part import Part
from dust3r_sfm.registration.photographs import Tools, add_photographs, camera_for, partners_of
from dust3r_sfm.types import Tracks

_MIN_SHARED_POINTS = 30
"""Points that two images both see where one holds the other; chosen by hand."""

_MAX_HOLDING = 2
"""Images held by more than so many others are not asked about again; chosen by hand."""

_CLEARLY_MORE, _MIN_MORE = 1.25, 15
"""How many times as many matches, and how many more, must agree on another pose than on the present one; chosen by
hand."""


def place_contested(part: Part, tools: Tools) -> Part:
    """Try each photograph that few others hold against the part without it, and move it where far more matches agree.

    The better held come first: others may hang on them.
    """
    if len(part.images) < 3:
        return part
    holding = _holding(part.points.tracks, len(part.scene.names))
    degrees = (holding >= _MIN_SHARED_POINTS).sum(axis=1)
    free = ~part.scene.known_poses
    queue = [image for image in part.images if degrees[image] <= _MAX_HOLDING and free[image]]
    for image in sorted(queue, key=lambda image: (-degrees[image], image)):
        part = _placed_anew(part, image, tools)
    return part


def _holding(tracks: Tracks, num_images: int) -> Int64[np.ndarray, "n n"]:
    """Number of points that each two images both see."""
    sees = np.zeros((num_images, len(tracks.xyz)), np.float32)
    sees[tracks.image_of, tracks.track_of] = 1.0
    shared = (sees @ sees.T).astype(np.int64)
    np.fill_diagonal(shared, 0)
    return shared


def _placed_anew(part: Part, image: int, tools: Tools) -> Part:
    """The part with the photograph where most matches agree; the same part where that is where it stands."""
    model = part.refinement.model
    rest = replace(
        part,
        refinement=replace(
            part.refinement,
            model=without_images(model, {image}),
            matches=[pair for pair in part.refinement.matches if image not in (pair.image1, pair.image2)],
        ),
    )
    partners = partners_of(rest, image, tools)
    tools.match.look((image, other) for other in partners)
    found = Correspondences.of(
        rest.points, [pair for other in partners if len((pair := tools.match(image, other)).xy1)]
    )
    camera, focal = camera_for(rest, image)
    raw_per_network = float(part.refinement.depths.raw_per_network[image])
    other = attempt(image, found, camera, focal, raw_per_network, tools.seed)
    if other.link is not None or other.estimate is None:
        return part
    own = model.cameras[model.images[id_of_image(image)].camera_id]
    here = PoseEstimate(
        cam_from_world=part.state.cameras.cam_from_world[image],
        camera=own,
        inlier=found.within(part.state.cameras, image, raw_per_network),
        covariance=None,
    )
    present = judged(image, found, here, (own.width, own.height))
    if other.num_inliers < max(_CLEARLY_MORE * present.num_inliers, present.num_inliers + _MIN_MORE):
        return part
    anew, placed = add_photographs(rest, [other], tools)
    return replace(anew, moved=(*part.moved, image)) if placed else part
