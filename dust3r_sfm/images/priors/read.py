"""All that is measured of the world, added to the photographs before any work."""

import hashlib
import json
from dataclasses import asdict, replace

import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.decode import open_image
from dust3r_sfm.images.priors.control_points import read_control_points
from dust3r_sfm.images.priors.gravity import gravity_of
from dust3r_sfm.images.priors.positions import Fix, Fixes, fix_of, in_metres, read_positions, zero_warnings
from dust3r_sfm.images.priors.xmp import read_xmp
from dust3r_sfm.options import KnownOptions
from dust3r_sfm.types import ImageSet, Priors


def with_priors(images: ImageSet, options: KnownOptions) -> ImageSet:
    """Add what files and tables measure of the world to the photographs.

    Args:
        images: as read, known cameras included.
        options: `georegister`, `gps`, `control_points`, `scale_distance`, `upright`.

    Raises:
        InputError: options that contradict each other, or a table that cannot be used.
    """
    _require_one_frame(images, options)
    tags = [_read_tags(images, index) for index in range(len(images))]
    priors, warnings = Priors(), list(images.warnings)
    if options.upright and any(gravity is not None for gravity, _, _ in tags):
        rows = [np.full(3, np.nan) if gravity is None else gravity for gravity, _, _ in tags]
        priors = replace(priors, gravity=np.array(rows))
    fixes = None
    if options.gps is not None:
        fixes = read_positions(options.gps, images.names)
    elif options.georegister:
        zeros = [name for name, (_, _, is_zero) in zip(images.names, tags, strict=True) if is_zero]
        found = {index: fix for index, (_, fix, _) in enumerate(tags) if fix is not None}
        fixes = Fixes(of_image=found, in_degrees=True, warnings=tuple(zero_warnings(zeros)))
    if fixes is not None:
        warnings += fixes.warnings
    if fixes is not None and fixes.of_image:
        measured, origin, offset = in_metres(fixes, len(images))
        priors = replace(priors, positions=measured, origin=origin, offset=offset)
    if options.control_points is not None:
        control, offset, found_out = read_control_points(options.control_points, images)
        warnings += found_out
        positions = priors.positions
        if fixes is not None and fixes.in_degrees:
            raise InputError(
                "--control-points set the frame, and GPS positions in degrees are in another one; give --gps in the "
                "metres of the control points, or leave it out."
            )
        if positions is not None:
            positions = replace(positions, xyz=positions.xyz + priors.offset - offset)
        priors = replace(priors, control=control, offset=offset, positions=positions)
    return replace(images, priors=priors, warnings=tuple(warnings))


def priors_digest(images: ImageSet) -> dict[str, str]:
    """A short hash of all that is measured, under the key `priors`; empty when nothing is."""
    priors = images.priors
    if priors is None or all(part is None for part in (priors.positions, priors.gravity, priors.control)):
        return {}
    text = json.dumps(asdict(priors), default=lambda array: array.tolist())
    return {"priors": hashlib.sha256(text.encode()).hexdigest()}


def _require_one_frame(images: ImageSet, options: KnownOptions) -> None:
    places = [
        name
        for name, is_given in (
            ("--georegister", options.georegister or options.gps is not None),
            ("--control-points", options.control_points is not None),
        )
        if is_given
    ]
    if options.scale_distance is not None and places:
        raise InputError(f"{places[0]} and --scale-distance both set the scale; give one of them.")
    if any(view.known_cam_from_world is not None for view in images.views) and (places or options.scale_distance):
        given = places[0] if places else "--scale-distance"
        raise InputError(f"--poses sets the frame and scale already; drop {given}.")


def _read_tags(images: ImageSet, index: int) -> tuple[np.ndarray | None, Fix | None, bool]:
    with open_image(images.views[index].path) as image:
        tags = read_xmp(image)
        return gravity_of(tags), *fix_of(image, tags)
