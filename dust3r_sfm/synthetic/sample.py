"""`dust3r-sfm sample`: photographs of a made-up courtyard as a camera would leave them, and the truth about them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image
from scipy.spatial.transform import Rotation

from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.images.resize import DEFAULT_GRID, Grid, network_grid
from dust3r_sfm.scene_file import write_scene
from dust3r_sfm.synthetic.courtyard import make_world
from dust3r_sfm.synthetic.render import render, render_depth
from dust3r_sfm.synthetic.shots import FOCAL_35MM_EQUIVALENT_MM, UPRIGHT_FROM_RAW, Shot, plan_shots
from dust3r_sfm.synthetic.world import World
from dust3r_sfm.system.files import atomic_path, write_json
from dust3r_sfm.types import NOTHING_KNOWN, Scene, Size, View

_NOISE_OF_255 = 1.2
"""Standard deviation of each colour value: chosen by hand."""
_JPEG_QUALITY = 95
"""Hardly any loss beside the noise: chosen by hand."""
KNOWN_CONFIDENCE, UNKNOWN_CONFIDENCE = 10.0, NOTHING_KNOWN
"""Of depths of the truth, and where no surface is seen: chosen by hand."""


def sample(
    folder: Path,
    num_views: int = 16,
    size: Size = (1024, 768),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Photograph a courtyard from an arc around its middle.

    Writes folder/images/*.jpg, with the focal length in EXIF and some portraits stored sideways; folder/truth/scene.h5,
    the known `Scene` on the default network grid (the oracle's weights); and folder/truth/poses.json, by name the pose
    (qvec_cam_from_world [w, x, y, z], tvec) and the camera (model, width, height, params) of each raw pixel grid.

    Args:
        folder: made, or made anew where it holds an earlier sample.
        num_views: photographs, 12 degrees apart (closer where that would be more than one turn).
        size: (width, height) of a landscape photograph.
        seed: of the courtyard, the cameras and the sensor noise.
        progress: called with (photographs taken, photographs).

    Returns:
        The folder of photographs.

    Raises:
        InputError: when fewer than two photographs are asked for.
        OutputError: when the folder holds something else, is not writable, or the disk is full.
    """
    if num_views < 2:
        raise InputError(f"A sample needs at least two photographs to have a baseline; {num_views} was asked for.")
    if folder.exists() and not (folder / "truth" / "poses.json").is_file() and any(folder.iterdir()):
        raise OutputError(f"{folder} holds something that is not a sample scene; choose another folder.", path=folder)
    rng = np.random.default_rng(seed)
    world = make_world(rng)
    shots = plan_shots(num_views, size, rng)
    with atomic_path(folder) as temporary:
        (temporary / "images").mkdir(parents=True)
        for index, shot in enumerate(shots):
            picture = render(world, shot.raw_cam_from_world, shot.intrinsics, shot.size)
            noise = _NOISE_OF_255 * rng.standard_normal(picture.shape, np.float32)
            picture = np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)
            _save_photograph(temporary / "images" / shot.name, picture, shot.orientation)
            if progress is not None:
                progress(index + 1, num_views)
        write_scene(temporary / "truth" / "scene.h5", true_scene(world, shots, folder / "images"))
        write_json(temporary / "truth" / "poses.json", {shot.name: pose_record(shot) for shot in shots})
    return folder / "images"


def true_scene(world: World, shots: Sequence[Shot], image_root: Path, grid: Grid = DEFAULT_GRID) -> Scene:
    """Return what is to be found out: cameras and exact depths on the network grid; no edges."""
    network_sizes, maps = zip(*(network_grid(shot.size, shot.orientation, grid) for shot in shots), strict=True)
    intrinsics = [
        network_from_image @ shot.intrinsics @ UPRIGHT_FROM_RAW[shot.orientation].T
        for shot, network_from_image in zip(shots, maps, strict=True)
    ]
    depths = tuple(
        render_depth(world, shot.cam_from_world, matrix, size)
        for shot, matrix, size in zip(shots, intrinsics, network_sizes, strict=True)
    )
    views = tuple(
        View(
            name=shot.name,
            path=image_root / shot.name,
            size=shot.size,
            orientation=shot.orientation,
            network_size=size,
            network_from_image=network_from_image,
            focal_prior=None,
            camera_group=0,
        )
        for shot, network_from_image, size in zip(shots, maps, network_sizes, strict=True)
    )
    known = (np.where(depth > 0, KNOWN_CONFIDENCE, UNKNOWN_CONFIDENCE) for depth in depths)
    return Scene(
        image_root=image_root,
        views=views,
        intrinsics=np.array(intrinsics),
        cam_from_world=np.array([shot.cam_from_world for shot in shots]),
        registered=np.ones(len(shots), dtype=np.bool_),
        depths=depths,
        confidences=tuple(confidence.astype(np.float32) for confidence in known),
        edges=np.empty((0, 2), dtype=np.int64),
        world_from_edge=np.empty((0, 4, 4)),
        edge_weights=np.empty(0),
        edge_residuals=np.empty(0),
    )


def _save_photograph(path: Path, picture: UInt8[np.ndarray, "h w 3"], orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "dust3r_sfm"
    exif[ExifTags.Base.Model] = "Courtyard 28"
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = FOCAL_35MM_EQUIVALENT_MM
    Image.fromarray(picture).save(path, quality=_JPEG_QUALITY, subsampling=0, exif=exif)


def pose_record(shot: Shot) -> dict[str, Any]:
    """Return what poses.json says of a photograph: pose and camera of its raw pixel grid."""
    pose, matrix = shot.raw_cam_from_world, shot.intrinsics
    return {
        "qvec_cam_from_world": Rotation.from_matrix(pose[:, :3]).as_quat(scalar_first=True).tolist(),
        "tvec": pose[:, 3].tolist(),
        "camera": {
            "model": "PINHOLE",
            "width": shot.size[0],
            "height": shot.size[1],
            "params": [matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]],
        },
    }
