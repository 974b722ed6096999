"""Cameras of another program's file as a model: which photographs share one, and what each starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dust3r_sfm.colmap.model import NO_TRACKS, id_of_image, with_points
from dust3r_sfm.errors import InputError
from dust3r_sfm.images.foreign.camera import ForeignCamera
from dust3r_sfm.images.known_cameras import colmap_camera, known_camera, largest_shift
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


_OF_OPENCV: dict[str, tuple[int | None, ...]] = {
    "SIMPLE_PINHOLE": (0, 0, 1, 2, *(None,) * 8),
    "PINHOLE": (0, 1, 2, 3, *(None,) * 8),
    "SIMPLE_RADIAL": (0, 0, 1, 2, 3, *(None,) * 7),
    "RADIAL": (0, 0, 1, 2, 3, 4, *(None,) * 6),
    "OPENCV": (*range(8), *(None,) * 4),
    "FULL_OPENCV": tuple(range(12)),
}
"""Where each parameter of FULL_OPENCV, of which the first eight are OPENCV's, stands in perspective models."""


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


def with_strong_lens(model: Reconstruction, source: Path) -> tuple[Reconstruction, str | None]:
    """Keep given lenses where one of them bends so much that it must not be forgotten.

    Args:
        model: the rough cameras.
        source: their file, for sentences.

    Returns:
        The cameras, all of one model that shows each as it is given, and the name of that model; as they are, and None,
        where no lens bends much.

    Raises:
        InputError: lenses of kinds that no one model shows.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    if not any(_bends(known_camera(camera)) for camera in model.cameras.values()):
        return model, None
    names = sorted({camera.model.name for camera in model.cameras.values()})
    if not _OF_OPENCV.keys() >= set(names):
        if len(names) > 1:
            raise InputError(
                f"{source} has lenses of {' and '.join(names)}; refine the photographs of each by themselves.",
                path=source,
            )
        return model, names[0]
    name = "FULL_OPENCV" if "FULL_OPENCV" in names else "OPENCV"
    copy = with_points(model, NO_TRACKS)
    for camera in copy.cameras.values():
        params = [camera.params[place] if place is not None else 0.0 for place in _OF_OPENCV[camera.model.name]]
        camera.model, camera.params = (
            pycolmap.CameraModelId.__members__[name],
            params if name == "FULL_OPENCV" else params[:8],
        )
    return copy, name


def _bends(camera: KnownCamera) -> bool:
    """Whether a lens shifts pixels at the border so far that a pinhole is no start; no ray for one is much, too."""
    return not largest_shift(camera) <= _STRONG_OF_SIDE * max(camera.size)


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
