"""The `dense` folder: undistorted images and PINHOLE cameras for `colmap patch_match_stereo` and splatting trainers."""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float32
from PIL import Image

from dust3r_sfm.dense.orientation import reset_orientation
from dust3r_sfm.dense.undistort import centred_camera, centred_keypoints, is_same_picture
from dust3r_sfm.errors import ImageError, InputError, OutputError
from dust3r_sfm.images.decode import as_rgb, decode, naming, open_image, raw_size
from dust3r_sfm.images.resample import resample, source_positions
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.system.files import atomic_path, noticing_a_full_disk
from dust3r_sfm.system.names import path_inside
from dust3r_sfm.system.parallel import num_cores
from dust3r_sfm.tracks.keypoints import positions
from dust3r_sfm.types import View

_JPEG_QUALITY = 97
"""Hardly any loss beside that of the photograph; chosen by hand."""

NUM_SOURCES = 20
"""Source images that patch-match stereo chooses for itself, and that are asked to confirm our depth maps; COLMAP's
default."""

_PLAIN_MODES = ("L", "RGB")
"""What stereo and trainers read as it is: they take the fourth channel of CMYK for transparency."""

_OUR_FOLDERS = {"images", "masks", "sparse", "stereo"}


def write_workspace(
    out: Path,
    reconstruction: Reconstruction,
    image_root: Path,
    views: Sequence[View] = (),
    *,
    overwrite: bool = False,
) -> Path:
    """Write `out/dense`: images/, masks/, sparse/ (for COLMAP), sparse/0/ (for trainers), stereo/ with empty maps.

    Cameras are PINHOLE with the principal point in the exact centre (the original splatting loader ignores where it
    is), and images of one camera have one size. An image that needs neither undistortion nor a crop is copied, and its
    EXIF orientation tag reset without encoding it again; any other is resampled once.

    Args:
        out: output folder; an older `dense` in it is replaced.
        reconstruction: the model, in the pixels of the files under `image_root`.
        image_root: folder that the image names are relative to.
        views: the photographs; those that have masks get them into masks/.
        overwrite: also replace a `dense` that holds depth maps, or files that this function does not write.

    Returns:
        The workspace folder.

    Raises:
        InputError: when an image is missing, unreadable or of another size than its camera, or a camera cannot be made
            a centred pinhole.
        OutputError: when `dense` holds what is not ours to replace, the disk is full or the folder cannot be written.
    """
    dense = out / "dense"
    if not overwrite:
        _refuse_foreign(dense)
    images = sorted((image for image in reconstruction.images.values() if image.has_pose), key=lambda image: image.name)
    for image in images:
        _check_image(image_root / image.name, (image.camera.width, image.camera.height))
    centred = centred_reconstruction(reconstruction)
    names = [image.name for image in images]
    mask_of = {view.name: view.mask for view in views}
    with atomic_path(dense) as temporary, noticing_a_full_disk(out), ThreadPoolExecutor(num_cores()) as pool:
        (temporary / "images").mkdir(parents=True)
        for camera_id, camera in reconstruction.cameras.items():
            members = [image.name for image in images if image.camera_id == camera_id]
            target = centred.cameras[camera_id]
            moved = None if is_same_picture(camera, target) else source_positions(camera, target)

            def write(name: str, moved: Float32[np.ndarray, "h w 2"] | None = moved) -> None:
                _write_image(image_root, temporary / "images", name, moved)
                if (mask := mask_of.get(name)) is not None:
                    _write_mask(mask, temporary / "masks", name, moved)

            list(pool.map(write, members))
        write_sparse(temporary, centred)
        write_stereo(temporary, names)
    return dense


def centred_reconstruction(reconstruction: Reconstruction) -> Reconstruction:
    """Give the model as centred pinhole cameras see it; observations outside their pictures are left out.

    Raises:
        InputError: when a camera cannot be made a centred pinhole.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    centred = pycolmap.Reconstruction(reconstruction)
    targets = {camera_id: centred_camera(camera) for camera_id, camera in reconstruction.cameras.items()}
    outside = []
    for image in centred.images.values():
        camera, target = reconstruction.cameras[image.camera_id], targets[image.camera_id]
        if not is_same_picture(camera, target):
            moved = centred_keypoints(camera, target, positions(image.points2D))
            inside = np.all((moved >= 0) & (moved <= [target.width, target.height]), axis=1)
            for point, xy in zip(image.points2D, np.where(np.isfinite(moved), moved, -1.0), strict=True):
                point.xy = xy
            outside += [(image.image_id, int(row)) for row in np.flatnonzero(~inside)]
    for camera_id, target in targets.items():
        camera = centred.cameras[camera_id]
        camera.model, camera.width, camera.height = target.model, target.width, target.height
        camera.params = target.params.tolist()
    for image_id, row in outside:
        if centred.images[image_id].points2D[row].has_point3D():
            centred.delete_observation(image_id, row)
    centred.update_point_3d_errors()
    return centred


def write_sparse(workspace: Path, reconstruction: Reconstruction) -> None:
    """Write a workspace's model twice: `sparse` for COLMAP, `sparse/0` for trainers."""
    for folder in (workspace / "sparse", workspace / "sparse" / "0"):
        folder.mkdir()
        reconstruction.write_binary(str(folder))


def write_stereo(workspace: Path, names: Sequence[str]) -> None:
    """Write a workspace's `stereo` folder: which images are matched and fused, and folders for their maps."""
    stereo = workspace / "stereo"
    for kind in ("depth_maps", "normal_maps", "consistency_graphs"):
        for name in names:
            path_inside(stereo / kind, name).parent.mkdir(parents=True, exist_ok=True)
    pairs = "".join(f"{name}\n__auto__, {NUM_SOURCES}\n" for name in names)
    (stereo / "patch-match.cfg").write_text(pairs, encoding="utf-8")
    (stereo / "fusion.cfg").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _refuse_foreign(dense: Path) -> None:
    """Keep hands off a folder that somebody else made, and off the hours that depth maps took."""
    if not dense.exists():
        return
    entries = {entry.name for entry in dense.iterdir()} if dense.is_dir() else {""}
    has_maps = any((dense / "stereo").glob("*_maps/**/*.bin"))
    if has_maps or not entries <= _OUR_FOLDERS:
        found = "depth maps" if has_maps else "other files"
        raise OutputError(
            f"{dense} holds {found} that would be lost; choose another folder, move it away, or add --overwrite.",
            path=dense,
        )


def _check_image(path: Path, size: tuple[int, int]) -> None:
    try:
        with open_image(path) as picture:
            found = raw_size(picture)
    except ImageError as error:
        raise InputError(
            f"{path} cannot be read, but the model uses it; restore the file or leave the image out.", path=path
        ) from error
    if found != size:
        raise InputError(
            f"{path} has {found[0]}×{found[1]} pixels but its camera has {size[0]}×{size[1]}; "
            "give the photographs that the model was made from.",
            path=path,
        )


def _write_image(root: Path, folder: Path, name: str, moved: Float32[np.ndarray, "h w 2"] | None) -> None:
    """Copy an image (`moved` is None) or resample it; its format stays that of its name."""
    target = path_inside(folder, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with naming(root / name):
        with open_image(root / name) as picture:
            profile, is_plain = picture.info.get("icc_profile"), picture.mode in _PLAIN_MODES
        if moved is None and is_plain:
            shutil.copyfile(root / name, target)
            reset_orientation(target)
            return
        picture = decode(root / name)
        if picture.mode == "CMYK":
            profile = None  # it is of four inks
        pixels = np.asarray(picture if picture.mode == "L" else as_rgb(picture))
    save_image(target, pixels if moved is None else resample(pixels, moved), icc_profile=profile)


def save_image(target: Path, pixels: np.ndarray, **options: Any) -> None:
    """Save a picture in the format of its name, JPEG nearly without loss."""
    if target.suffix.lower() in (".jpg", ".jpeg"):
        options |= {"quality": _JPEG_QUALITY, "subsampling": 0}
    Image.fromarray(pixels).save(target, **options)


def _write_mask(mask: Path, folder: Path, name: str, moved: Float32[np.ndarray, "h w 2"] | None) -> None:
    """Write a mask under COLMAP's name (IMG.jpg.png), and under nerfstudio's (IMG.png) where that is free."""
    with naming(mask):
        pixels = np.where(np.asarray(decode(mask).convert("L")) > 0, 255, 0).astype(np.uint8)
    target = path_inside(folder, f"{name}.png")
    target.parent.mkdir(parents=True, exist_ok=True)
    save_image(target, pixels if moved is None else resample(pixels, moved, nearest=True))
    short = folder / PurePosixPath(name).with_suffix(".png")
    if not short.exists():
        shutil.copyfile(target, short)
