"""New photographs beside those of an existing model: which are new, one folder for all, and the cameras they share."""

import filecmp
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.find import find_images
from dust3r_sfm.images.known import add_known
from dust3r_sfm.images.known_cameras import check_cameras, known_camera
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.system.files import atomic_path
from dust3r_sfm.types import Dropped, ImageSet, KnownCamera, View


def find_additions(photos: Path, root: Path, old_names: Sequence[str]) -> tuple[list[str], list[Dropped]]:
    """Find the photographs that a model has not.

    Args:
        photos: folder of photographs, new ones among them.
        root: folder of the model's photographs; may be the same.
        old_names: the model's photographs.

    Returns:
        Names below `photos` that are new, and those left out because an old photograph has the same bytes.

    Raises:
        InputError: an old photograph is missing or differs from the one of its name in `photos`, or nothing is new.
    """
    found, old = find_images(photos), set(old_names)
    by_length: dict[int, list[str]] = {}
    for name in old_names:
        if not (root / name).is_file():
            raise InputError(
                f"The model's photograph {name} is not in {root}; give its folder with --images.", path=root
            )
        if (photos / name).is_file() and not filecmp.cmp(photos / name, root / name, shallow=False):
            raise InputError(
                f"{photos / name} differs from the photograph of that name in the model ({root / name}); rename it if "
                "it is another photograph."
            )
        by_length.setdefault((root / name).stat().st_size, []).append(name)
    new, dropped = [], []
    for name in found:
        if name in old:
            continue
        same_length = by_length.get((photos / name).stat().st_size, [])
        original = next((o for o in same_length if filecmp.cmp(photos / name, root / o, shallow=False)), None)
        if original is None:
            new.append(name)
        else:
            dropped.append(Dropped(name=name, reason=f"it has the same bytes as {original}"))
    if not new:
        raise InputError(f"{photos} holds no photograph that the model has not; the model stays as it is.", path=photos)
    return new, dropped


def one_root(photos: Path, root: Path, old_names: Sequence[str], new_names: Sequence[str], folder: Path) -> Path:
    """Give one folder that holds old and new photographs under their names.

    Where neither of the two holds all of them, `folder` is made (anew) of hard links, or copies across file systems.

    Args:
        photos: folder of the new photographs.
        root: folder of the old ones.
        old_names, new_names: what `find_additions` compared.
        folder: what may be made.
    """
    if all((photos / name).is_file() for name in old_names):
        return photos
    if all((root / name).is_file() and (root / name).samefile(photos / name) for name in new_names):
        return root
    with atomic_path(folder) as temporary:
        for source, names in ((root, old_names), (photos, new_names)):
            for name in names:
                target = temporary / name
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link((source / name).resolve(), target)
                except OSError:  # another file system, or one without hard links
                    shutil.copy2(source / name, target)
    return folder


def with_old_cameras(images: ImageSet, model: Reconstruction, source: Path, given: Mapping[str, View]) -> ImageSet:
    """Fix the cameras and poses that a model knows.

    A new photograph takes the camera of the old ones that it shares a camera with, where they have only one for the
    size of its file: a camera group holds pictures turned by a quarter too, and a camera is for one size of file.

    Args:
        images: old and new photographs.
        model: holds the old ones under their names.
        source: the model's folder, for messages.
        given: the new photographs, with what the user knows about them.

    Raises:
        InputError: a camera of the model cannot be used for its photograph.
    """
    old = {image.name: image for image in model.images.values() if image.has_pose}
    cameras = {name: known_camera(image.camera) for name, image in old.items()}
    check_cameras(cameras, images.views, source)
    shared: dict[int, set[KnownCamera]] = {}
    for view in images.views:
        if view.name in old:
            shared.setdefault(view.camera_group, set()).add(cameras[view.name])
    for view in images.views:
        fitting = [camera for camera in shared.get(view.camera_group, ()) if camera.size == view.size]
        known = given[view.name].known_camera if view.name in given else cameras[view.name]
        if known is not None:
            cameras[view.name] = known
        elif len(fitting) == 1:
            cameras[view.name] = fitting[0]
    poses = {name: np.asarray(image.cam_from_world().matrix()) for name, image in old.items()}
    complete = add_known(images, cameras, poses)
    return replace(complete, views=tuple(_posed(view, given.get(view.name)) for view in complete.views))


def _posed(view: View, given: View | None) -> View:
    return view if given is None else replace(view, known_cam_from_world=given.known_cam_from_world)
