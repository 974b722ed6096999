"""Photographs through a strong lens, taken again as a pinhole camera in the same place would have."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.decode import decode, naming, open_image
from dust3r_sfm.images.exif import exif_bytes
from dust3r_sfm.images.known_cameras import colmap_camera, is_strong, read_intrinsics
from dust3r_sfm.images.load import load_original
from dust3r_sfm.images.resample import resample, source_positions
from dust3r_sfm.options import KnownOptions
from dust3r_sfm.system.digest import digest
from dust3r_sfm.system.files import atomic_path, write_json
from dust3r_sfm.system.parallel import map_ordered, num_cores
from dust3r_sfm.types import ImageSet, KnownCamera, View

_MAX_HALF_VIEW_DEGREES = 50.0
"""Angle between the optical axis and the side of a straight picture, at most: beyond it a pinhole stretches pixels to
more than twice their size. Chosen by hand."""

_NUM_SIZES = 200
"""Sizes that are tried for a straight picture, up to the largest. Chosen by hand."""

_NUM_BORDER = 33
"""Positions along each side that are tried."""

_JPEG_QUALITY = 95
"""Of Pillow's 1 to 95. Chosen by hand."""


def strong_lenses(images: ImageSet, options: KnownOptions) -> dict[str, KnownCamera]:
    """The known lens of every photograph, by name, where no pinhole stands for one of them; empty otherwise.

    Raises:
        InputError: the cameras cannot be read, poses are known as well, places in the world are to shape the
            model, or photographs have no camera.
    """
    if options.intrinsics is None:
        return {}
    cameras, _ = read_intrinsics(options.intrinsics, images.views, any_lens=True)
    if not any(is_strong(camera) for camera in cameras.values()):
        return {}
    if is_placed(options):
        raise InputError(
            f"--georegister, --gps and --control-points do not go with the strong lens in {options.intrinsics}; "
            "undistort the photographs, and marks in them, first."
        )
    if options.poses is not None:
        raise InputError(
            f"{options.intrinsics} holds lenses too strong for known poses to be kept exactly; give poses and lenses "
            "in one file to `dust3r-sfm refine`."
        )
    missing = [name for name in images.names if name not in cameras]
    if missing:
        raise InputError(
            f"{options.intrinsics} has a strong lens, but no camera for {missing[0]}; give that one as well, or leave "
            "the photograph out."
        )
    return cameras


def is_placed(options: KnownOptions) -> bool:
    """Whether places in the world are to shape the model: they do so where photographs are aligned as they are."""
    return options.georegister or options.gps is not None or options.control_points is not None


def straight_camera(camera: KnownCamera) -> KnownCamera:
    """The centred pinhole of a lens's own focal length: the largest whose picture has no blank pixels.

    It stands in the same place and looks the same way; what the lens sees further out is left away.

    Args:
        camera: any of COLMAP's models, raw pixels.
    """
    made = colmap_camera(camera)
    focal = float(made.mean_focal_length())
    half = np.array(camera.size) / max(camera.size)
    along = np.linspace(-1, 1, _NUM_BORDER)
    border = np.array([[x, y] for x in along for y in along if 1 in (abs(x), abs(y))]) * half
    best, last = 0.0, np.zeros(len(border))
    for extent in np.linspace(0, np.tan(np.radians(_MAX_HALF_VIEW_DEGREES)), _NUM_SIZES + 1)[1:]:
        there = np.asarray(made.img_from_cam(np.column_stack([border * extent, np.ones(len(border))])))
        distance = np.linalg.norm(there - [made.principal_point_x, made.principal_point_y], axis=1)
        # Where a polynomial turns back, it is no lens any more.
        if not ((there >= 0) & (there <= camera.size)).all() or (distance <= last).any():
            break
        best, last = float(extent), distance
    width, height = np.maximum(2 * np.floor(half * best * focal), 2).astype(int).tolist()
    return KnownCamera(model="PINHOLE", size=(width, height), params=(focal, focal, width / 2, height / 2))


def straighten_photographs(images: ImageSet, cameras: Mapping[str, KnownCamera], folder: Path) -> dict[str, str]:
    """Write straight pictures of photographs, with their EXIF, and of their masks.

    Args:
        images: as read.
        cameras: the lens of every photograph, by name.
        folder: gets images/ and, where there are masks, masks/; what an earlier run left there is used again.

    Returns:
        For each photograph's name, the name of its straight picture.

    Raises:
        ImageError: a photograph has been damaged or removed since it was read.
        OutputError: the disk is full or `folder` cannot be written.
    """
    straight = {camera: straight_camera(camera) for camera in dict.fromkeys(cameras.values())}
    is_jpeg = {view.name: PurePosixPath(view.name).suffix.lower() in (".jpg", ".jpeg") for view in images.views}
    names = {name: name if is_jpeg[name] else f"{name}.jpg" for name in images.names}

    made_of = {view.name: _facts(view, cameras[view.name]) for view in images.views}
    record = folder / "made_of.json"
    before = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    kept = {name for name, facts in made_of.items() if before.get(name) == facts}
    write_json(record, {name: made_of[name] for name in sorted(kept)})

    def write(view: View) -> None:
        picture = folder / "images" / names[view.name]
        mask = folder / "masks" / f"{names[view.name]}.png"
        if view.name in kept and picture.is_file() and (view.mask is None or mask.is_file()):
            return
        camera = cameras[view.name]
        at = source_positions(colmap_camera(camera), colmap_camera(straight[camera]))
        if view.mask is not None:
            with naming(view.mask):
                usable = np.array(decode(view.mask).convert("L"))
                _save(resample(usable, at, nearest=True), mask)
        with naming(view.path):
            exif = exif_bytes(open_image(view.path))
        _save(resample(load_original(view), at), picture, exif)

    for _ in map_ordered(write, images.views, num_cores(0)):
        pass
    write_json(record, made_of)
    return names


def write_cameras(path: Path, cameras: Mapping[str, KnownCamera]) -> None:
    """Write cameras by name as a poses.json without poses, which `--intrinsics` reads."""
    entries = {
        name: {"model": one.model, "width": one.size[0], "height": one.size[1], "params": one.params}
        for name, one in cameras.items()
    }
    write_json(path, {name: {"camera": entry} for name, entry in entries.items()})


def _facts(view: View, camera: KnownCamera) -> list[str]:
    """What a straight picture is made of."""
    return [*(digest(path) for path in (view.path, view.mask) if path is not None), str(camera)]


def _save(pixels: UInt8[np.ndarray, "h w *c"], path: Path, exif: bytes = b"") -> None:
    with atomic_path(path) as temporary:
        kind = "PNG" if path.suffix == ".png" else "JPEG"
        Image.fromarray(pixels).save(temporary, kind, quality=_JPEG_QUALITY, subsampling=0, exif=exif)
