"""Smaller copies of a workspace's pictures, where splatting trainers look for them: images_2, images_4, images_8."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dust3r_sfm.dense.workspace import save_image
from dust3r_sfm.errors import InputError
from dust3r_sfm.images.decode import decode, naming
from dust3r_sfm.images.find import find_images
from dust3r_sfm.system.files import atomic_path
from dust3r_sfm.system.names import path_inside
from dust3r_sfm.system.parallel import map_ordered, num_cores


def write_smaller_images(workspace: Path, factors: Sequence[int]) -> list[Path]:
    """Write the pictures of a workspace at a half, a quarter, … of their size, under their names.

    Cameras stay those of `sparse`: gsplat, 3DGS and nerfstudio scale them by the folder's factor.

    Args:
        workspace: folder with images/, undistorted.
        factors: each gives a folder images_FACTOR, which replaces an older one.

    Raises:
        InputError: there are no pictures, or a factor is below 2.
        OutputError: when the disk is full or the folder cannot be written.
    """
    if wrong := [factor for factor in factors if factor < 2]:
        raise InputError(f"--image-factors has {wrong[0]}; a factor is 2 or more.")
    images = workspace / "images"
    if not images.is_dir():
        raise InputError(f"{workspace} has no pictures; write it with --colmap.", path=workspace)
    names, folders = find_images(images), []
    for factor in factors:
        folder = workspace / f"images_{factor}"
        with atomic_path(folder) as temporary:

            def shrink(name: str, temporary: Path = temporary, factor: int = factor) -> None:
                with naming(images / name):
                    picture = decode(images / name)
                size = (max(round(picture.width / factor), 1), max(round(picture.height / factor), 1))
                target = path_inside(temporary, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                save_image(target, np.asarray(picture.resize(size, Image.Resampling.LANCZOS)))

            for _ in map_ordered(shrink, names, num_cores()):
                pass
        folders.append(folder)
    return folders
