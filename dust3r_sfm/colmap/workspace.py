"""The `dense` folder: undistorted images and PINHOLE cameras for `colmap patch_match_stereo` and splatting trainers."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from dust3r_sfm.colmap.model import Reconstruction
from dust3r_sfm.colmap.orientation import reset_orientation
from dust3r_sfm.colmap.space import noticing_a_full_disk
from dust3r_sfm.errors import InputError
from dust3r_sfm.files import atomic_path

_JPEG_QUALITY = 97

_EXACTLY_CENTRED = 1e-6
"""Principal points nearer to the centre than this, in pixels, are off by rounding only."""


def write_workspace(out: Path, reconstruction: Reconstruction, image_root: Path) -> Path:
    """Write `out/dense`: images/, sparse/ (for COLMAP), sparse/0/ (the same, for trainers), stereo/ with empty maps.

    Cameras are PINHOLE with the principal point in the centre (the original splatting loader ignores where it is),
    which costs a crop where it lies elsewhere. Images that need neither undistortion nor a crop are copied; their EXIF
    orientation tag is reset without encoding them again.

    Args:
        out: output folder; an older `dense` in it is replaced.
        reconstruction: the model, in the pixels of the files under `image_root`.
        image_root: folder that the image names are relative to.

    Returns:
        The workspace folder.

    Raises:
        InputError: when an image is missing, unreadable or of another size than its camera.
        OutputError: when the disk is full or the folder cannot be written.
    """
    from dust3r_sfm._pycolmap import pycolmap

    for image in reconstruction.images.values():
        _check_image(image_root / image.name, (image.camera.width, image.camera.height))
    dense = out / "dense"
    with atomic_path(dense) as temporary, noticing_a_full_disk(out):
        model = temporary / "model"
        model.mkdir(parents=True)
        reconstruction.write_binary(str(model))
        with _quiet():
            pycolmap.undistort_images(str(temporary), str(model), str(image_root))
        shutil.rmtree(model)
        undistorted = pycolmap.Reconstruction(str(temporary / "sparse"))
        for image in undistorted.images.values():
            written = temporary / "images" / image.name
            if not written.is_file():
                raise InputError(f"COLMAP could not read {image_root / image.name}; convert it to JPEG or PNG.")
            reset_orientation(written)
        _centre_principal_points(undistorted, temporary / "images")
        undistorted.update_point_3d_errors()
        for folder in (temporary / "sparse", temporary / "sparse" / "0"):
            folder.mkdir(exist_ok=True)
            undistorted.write_binary(str(folder))
    return dense


def _check_image(path: Path, size: tuple[int, int]) -> None:
    try:
        with Image.open(path) as picture:
            found = picture.size
    except OSError as error:
        raise InputError(
            f"{path} cannot be read, but the model uses it; restore the file or leave the image out."
        ) from error
    if found != size:
        raise InputError(
            f"{path} has {found[0]}×{found[1]} pixels but its camera has {size[0]}×{size[1]}; "
            "give the photographs that the model was made from."
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep COLMAP's progress lines off the terminal."""
    from dust3r_sfm._pycolmap import pycolmap

    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.WARNING)
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before


def _centre_principal_points(reconstruction: Reconstruction, image_folder: Path) -> None:
    """Make every camera PINHOLE with a centred principal point, cropping its images where that is needed.

    Whole pixels are cropped on the far side of each axis. What remains, at most a quarter of a pixel, moves the
    camera's principal point and its keypoints together, so that the model stays consistent.
    """
    from dust3r_sfm._pycolmap import pycolmap

    for camera in reconstruction.cameras.values():
        size = np.array([camera.width, camera.height])
        offset = np.array([camera.principal_point_x, camera.principal_point_y]) * 2 - size
        crop = np.round(offset).astype(int)
        left_top, cropped = np.maximum(crop, 0), size - np.abs(crop)
        focals = camera.focal_length_x, camera.focal_length_y
        camera.model = pycolmap.CameraModelId.PINHOLE
        camera.width, camera.height = (int(value) for value in cropped)
        camera.params = [*focals, *(cropped / 2)]
        if np.abs(offset).max() < _EXACTLY_CENTRED:
            continue
        shift = (cropped - size - offset) / 2
        for image in reconstruction.images.values():
            if image.camera_id == camera.camera_id:
                for point in image.points2D:
                    point.xy = point.xy + shift
                if crop.any():
                    _crop_image(image_folder / image.name, (*left_top.tolist(), *(left_top + cropped).tolist()))


def _crop_image(path: Path, box: tuple[int, int, int, int]) -> None:
    with Image.open(path) as picture:
        cropped = picture.crop(box)
        cropped.save(
            path,
            format=picture.format,
            quality=_JPEG_QUALITY,
            subsampling=0,
            icc_profile=picture.info.get("icc_profile"),
        )
