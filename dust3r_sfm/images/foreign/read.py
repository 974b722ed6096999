"""The cameras of photographs in whatever file another program left them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import centres
from dust3r_sfm.images.colmap_models import find_model, model_in
from dust3r_sfm.images.foreign.bundler import read_bundle
from dust3r_sfm.images.foreign.camera import ForeignCamera, of_quaternion, rigid
from dust3r_sfm.images.foreign.colmap_camera import known_camera, read_camera
from dust3r_sfm.images.foreign.metashape import read_metashape
from dust3r_sfm.images.foreign.nvm import read_nvm
from dust3r_sfm.images.foreign.polycam import camera_files, read_polycam
from dust3r_sfm.images.foreign.size import at_size_of
from dust3r_sfm.images.foreign.transforms import read_transforms
from dust3r_sfm.images.known_cameras import read_json
from dust3r_sfm.images.known_names import resolve
from dust3r_sfm.types import ImageSet

_KINDS = (
    "the folder of a COLMAP model, transforms.json, poses.json, bundle.out, model.nvm, Metashape's XML, or a folder of "
    "Polycam's cameras"
)


def read_foreign(source: Path, images: ImageSet) -> tuple[dict[str, ForeignCamera], list[str]]:
    """Read the cameras of photographs from another program's file.

    Args:
        source: the file or folder; its kind is told by its name and content.
        images: the photographs, matched by their names.

    Returns:
        The camera of each photograph that has one, by name, lenses in raw pixels of the photographs; and what the user
        should know about the others.

    Raises:
        InputError: the file cannot be read, fits fewer than two photographs, or holds something that is no camera.
    """
    found = {_tail(name): camera for name, camera in _read(source).items()}
    cameras, warnings = resolve(found, images.names, source, "camera")
    if len(cameras) < 2:
        raise InputError(
            f"{source} has a camera for {len(cameras)} of {len(images)} photographs; refine needs two at least.",
            path=source,
        )
    places = np.array([centres(camera.cam_from_world) for camera in cameras.values()])
    if not np.ptp(places, axis=0).max() > 1e-9 * max(np.abs(places).max(), 1e-300):
        raise InputError(
            f"All cameras in {source} stand in one place, so that there is no scale; export poses with positions.",
            path=source,
        )
    fitted, crops = {}, []
    for view in images.views:
        if view.name in cameras:
            camera, is_crop = at_size_of(view, cameras[view.name].camera, source)
            fitted[view.name] = replace(cameras[view.name], camera=camera)
            crops += [view.name] if is_crop else []
    if crops:
        warnings.append(
            f"{source} has {len(crops)} cameras of pictures of another shape than the photographs, {crops[0]} for one; "
            "they are taken for centred crops."
        )
    return fitted, warnings


def _read(source: Path) -> dict[str, ForeignCamera]:
    if source.is_dir():
        if find_model(source):
            return _of_model(source)
        if files := camera_files(source):
            return read_polycam(files)
    elif source.is_file():
        if source.suffix.lower() == ".json":
            return cameras_of_json(source)
        reader = _READERS.get(source.suffix.lower())
        if reader is not None:
            return reader(source)
    else:
        raise InputError(f"There is no {source}; give {_KINDS}.", path=source)
    raise InputError(f"{source} holds no cameras that are read; give {_KINDS}.", path=source)


_READERS: Mapping[str, Callable[[Path], dict[str, ForeignCamera]]] = {
    ".out": read_bundle,
    ".nvm": read_nvm,
    ".xml": read_metashape,
}
"""By the extension of the file."""


def _of_model(folder: Path) -> dict[str, ForeignCamera]:
    found = {}
    for image in sorted(model_in(folder).images.values(), key=lambda image: image.name):
        if image.has_pose:
            pose = rigid(np.asarray(image.cam_from_world().matrix()), image.name, folder)
            found[image.name] = ForeignCamera(cam_from_world=pose, camera=known_camera(image.camera))
    return found


def cameras_of_json(source: Path) -> dict[str, ForeignCamera]:
    """Read a poses.json or transforms.json: cameras by the names that stand there.

    Raises:
        InputError: it is neither, or holds a camera or pose that cannot be.
    """
    content = read_json(source)
    if isinstance(content.get("frames"), list):
        return read_transforms(content, source)
    try:
        return {
            name: _of_entry(entry, name, source)
            for name, entry in content.items()
            if isinstance(entry, dict) and "tvec" in entry
        }
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{source} is no poses.json ({error!r}); correct it.", path=source) from error


def _of_entry(entry: Mapping[str, Any], name: str, source: Path) -> ForeignCamera:
    pose = rigid(of_quaternion(entry), name, source)
    camera = entry.get("camera")
    if camera is None:
        return ForeignCamera(cam_from_world=pose, camera=None)
    read = read_camera(camera["model"], (camera["width"], camera["height"]), camera["params"])
    return ForeignCamera(cam_from_world=pose, camera=read)


def _tail(name: str) -> str:
    """A name without what leads out of a folder: it is only compared, so paths of other machines do no harm."""
    path = PureWindowsPath(name) if "\\" in name or PureWindowsPath(name).drive else PurePosixPath(name)
    parts = [part for part in path.parts if part not in (path.anchor, ".", "..")]
    return "/".join(parts) or name
