"""Photographs whose cameras or poses the user knows: brought once to the network's grid and the upright frame."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.geometry.grid import raw_from_upright
from dust3r_sfm.images.known_cameras import colmap_camera, read_intrinsics
from dust3r_sfm.images.known_poses import Pose, read_poses
from dust3r_sfm.options import KnownOptions
from dust3r_sfm.types import ImageSet, KnownCamera, View


def with_known(images: ImageSet, options: KnownOptions) -> ImageSet:
    """Add what the user knows about the cameras to the photographs.

    Photographs of one known camera share it; none of them shares a camera with one that is not known.

    Args:
        images: as read.
        options: where the cameras and poses stand.

    Returns:
        The photographs with `known_camera`, `known_intrinsics` and `known_cam_from_world` where they are known.

    Raises:
        InputError: see `known_cameras.read_intrinsics` and `known_poses.read_poses`.
    """
    if options.intrinsics is None and options.poses is None:
        return images
    cameras: Mapping[str, KnownCamera] = {}
    poses: Mapping[str, Pose] = {}
    warnings = list(images.warnings)
    if options.intrinsics is not None:
        cameras, found = read_intrinsics(options.intrinsics, images.views)
        warnings += found
    if options.poses is not None:
        poses, found = read_poses(options.poses, images.names)
        warnings += found
    return replace(add_known(images, cameras, poses), warnings=tuple(warnings))


def add_known(images: ImageSet, cameras: Mapping[str, KnownCamera], poses: Mapping[str, Pose]) -> ImageSet:
    """Add known cameras (raw pixels) and poses (raw camera from world) by name; see `with_known`."""
    number_of: dict[int | KnownCamera, int] = {}
    views = []
    for view in images.views:
        camera, pose = cameras.get(view.name), poses.get(view.name)
        known = view if camera is None else _with_camera(view, camera)
        if pose is not None:
            known = replace(known, known_cam_from_world=raw_from_upright(view.network_from_image).T @ pose)
        group = number_of.setdefault(camera or view.camera_group, len(number_of))
        views.append(replace(known, camera_group=group))
    return replace(images, views=tuple(views))


def known_digest(images: ImageSet) -> dict[str, str]:
    """A short hash of all that is known, under the key `known`; empty when nothing is."""
    facts = [
        [
            view.name,
            [view.known_camera.model, view.known_camera.size, view.known_camera.params] if view.known_camera else None,
            None if view.known_cam_from_world is None else view.known_cam_from_world.tolist(),
        ]
        for view in images.views
        if view.known_camera is not None or view.known_cam_from_world is not None
    ]
    return {"known": hashlib.sha256(json.dumps(facts).encode()).hexdigest()} if facts else {}


def _with_camera(view: View, camera: KnownCamera) -> View:
    matrix: Float64[np.ndarray, "3 3"] = np.asarray(colmap_camera(camera).calibration_matrix(), np.float64)
    network = view.network_from_image @ matrix @ raw_from_upright(view.network_from_image)
    return replace(view, known_intrinsics=network, known_camera=camera)
