"""Cameras of another program's file as a model: which photographs share one, and what each starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dust3r_sfm.colmap.model import NO_TRACKS, id_of_image, with_points
from dust3r_sfm.images.foreign.camera import ForeignCamera
from dust3r_sfm.images.known_cameras import colmap_camera, known_camera, straighten
from dust3r_sfm.localization.pose import query_camera
from dust3r_sfm.options import CameraSharing
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.types import ImageSet, KnownCamera, View

_SAME_FOCAL_OF_FOCAL = 0.05
"""Photographs of equal size and EXIF whose given focal lengths differ by no more are of one lens, which networks see
differently in each picture; chosen by hand."""

_STRONG_OF_SIDE = 0.01
"""Shift of a pixel by a given lens, over the longer side, from which the search starts from that lens and not from a
pinhole; chosen by hand."""


def share_cameras(images: ImageSet, given: Mapping[str, ForeignCamera], sharing: CameraSharing) -> ImageSet:
    """Group photographs by camera: those that the file gives one camera, and those alike in size, EXIF and focal.

    Args:
        images: as read; photographs that the file does not know keep their group.
        given: the cameras, by name.
        sharing: the user's choice; all but "auto" stay as they are.
    """
    if sharing != "auto":
        return images
    leader = list(range(len(images)))

    def find(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    first: dict[Any, int] = {}
    focals = [_focal(given.get(view.name)) for view in images.views]
    for index, view in enumerate(images.views):
        camera = given[view.name].camera if view.name in given else None
        others = [
            other
            for other, like in enumerate(images.views[:index])
            if like.camera_group == view.camera_group and _same_focal(focals[other], focals[index])
        ]
        if camera is not None:
            leader[find(index)] = find(first.setdefault(camera, index))
        if others:
            leader[find(index)] = find(others[0])
    numbers: dict[int, int] = {}
    groups = [numbers.setdefault(find(index), len(numbers)) for index in range(len(images))]
    views = (replace(view, camera_group=group) for view, group in zip(images.views, groups, strict=True))
    return replace(images, views=tuple(views))


def rough_model(images: ImageSet, given: Mapping[str, ForeignCamera]) -> Reconstruction:
    """Make a model of the photographs that a file knows, each at its given pose.

    Args:
        images: with camera groups.
        given: the cameras, by name.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    model = pycolmap.Reconstruction()
    members: dict[tuple[int, tuple[int, int]], list[int]] = {}
    for index, view in enumerate(images.views):
        if view.name in given:
            members.setdefault((view.camera_group, view.size), []).append(index)
    for camera_id, indices in enumerate(members.values(), start=1):
        camera = _common_camera([images.views[index] for index in indices], given)
        camera.camera_id = camera_id
        model.add_camera_with_trivial_rig(camera)
        for index in indices:
            view = images.views[index]
            image = pycolmap.Image(view.name, np.zeros((0, 2)), camera_id, id_of_image(index))
            model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(given[view.name].cam_from_world))
    return model


def normalized(model: Reconstruction) -> Reconstruction:
    """The same cameras about the origin, one unit apart: far away, as on the globe, an adjustment loses its digits."""
    from dust3r_sfm.system._pycolmap import pycolmap

    copy = with_points(model, NO_TRACKS)
    places = np.array([image.projection_center() for _, image in sorted(copy.images.items())])
    middle = np.median(places, axis=0)
    scale = 1.0 / float(np.median(np.linalg.norm(places - places.mean(axis=0), axis=1)))
    copy.transform(pycolmap.Sim3d(scale, pycolmap.Rotation3d(), -scale * middle))
    return copy


def strong_lens(model: Reconstruction) -> str | None:
    """The camera model of the given lenses, where one of them bends so much that it must not be forgotten."""
    for _, camera in sorted(model.cameras.items()):
        known = known_camera(camera)
        (width, height), along = known.size, np.linspace(0, 1, 9)
        border = np.array([[x * width, y * height] for x in along for y in along if x in (0, 1) or y in (0, 1)])
        shift = np.linalg.norm(straighten(known, border) - border, axis=1)
        if not np.nanmax(shift, initial=0.0) <= _STRONG_OF_SIDE * max(known.size) or np.isnan(shift).any():
            return known.model
    return None


def _common_camera(views: Sequence[View], given: Mapping[str, ForeignCamera]) -> Any:
    """The camera of photographs that share one: the median of the given ones, or a guess where none is given."""
    cameras = [camera for view in views if (camera := given[view.name].camera) is not None]
    if not cameras:
        return query_camera(views[0], None)[0]
    model = cameras[0].model
    alike = [camera.params for camera in cameras if camera.model == model]
    params = tuple(np.median(np.array(alike), axis=0).tolist())
    return colmap_camera(KnownCamera(model=model, size=views[0].size, params=params))


def _focal(camera: ForeignCamera | None) -> float | None:
    """Focal length in raw pixels, where the file gives one."""
    return None if camera is None or camera.camera is None else colmap_camera(camera.camera).mean_focal_length()


def _same_focal(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return max(first, second) <= (1 + _SAME_FOCAL_OF_FOCAL) * min(first, second)
