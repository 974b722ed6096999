"""The `dense_pointmaps` folder: a workspace with our depth and normal maps, for `colmap stereo_fusion` without CUDA.

It stands beside `dense`, because `patch_match_stereo` skips the views that have a map. Pictures and cameras are those
of `dense` at the resolution of the pointmaps: nothing is enlarged to raise the number of points.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64
from PIL import Image

from dust3r_sfm.dense.check import check_images
from dust3r_sfm.dense.confirmation import PosedDepth, confirmed
from dust3r_sfm.dense.depth_maps import clean_depth, depth_map, write_depth_map
from dust3r_sfm.dense.rescale import corrected_depths
from dust3r_sfm.dense.workspace import NUM_SOURCES, centred_reconstruction, save_image, write_sparse, write_stereo
from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.grid import network_from_raw
from dust3r_sfm.images.decode import decode, naming
from dust3r_sfm.images.resample import source_positions
from dust3r_sfm.system._pycolmap import Camera, Reconstruction
from dust3r_sfm.system.files import atomic_path, noticing_a_full_disk
from dust3r_sfm.system.names import path_inside
from dust3r_sfm.system.parallel import num_cores
from dust3r_sfm.types import Scene, Size

FOLDER = "dense_pointmaps"

_ALL_NEIGHBOURS = 0.999
"""Weight of its known neighbours above which a moved pixel has no unknown one: 1 but for rounding."""


def write_pointmaps(out: Path, reconstruction: Reconstruction, scene: Scene) -> Path:
    """Write `out/dense_pointmaps` beside `out/dense`: images/, sparse/, sparse/0/ and stereo/ with filled maps.

    The scene's depth of each image is moved onto the image's centred pinhole camera and corrected to the depths of
    the points that the image observes in the model, so that it fits cameras that were refined since.

    Args:
        out: output folder with the `dense` workspace of the same model; an older `dense_pointmaps` is replaced.
        reconstruction: the model in original pixels.
        scene: depths and confidences on the network grid; images of the model that it lacks get no maps.

    Returns:
        The workspace folder.

    Raises:
        InputError: when `dense` lacks an image of the model or has it at another size.
        OutputError: when the disk is full or the folder cannot be written.
    """
    index_of = {name: index for index, name in enumerate(scene.names)}
    images = {image.name: image for image in reconstruction.images.values() if image.has_pose}
    mapped = sorted(images.keys() & index_of.keys())
    centred = centred_reconstruction(reconstruction)
    small = _shrunk(centred, scene, index_of)
    sources = {check.name: [name for name in check.sources if name in index_of] for check in check_images(small)}
    trusted = {name: clean_depth(scene.depths[index_of[name]], scene.confidences[index_of[name]]) for name in mapped}
    depths = corrected_depths(reconstruction, scene, trusted)
    workspace = out / FOLDER
    with atomic_path(workspace) as temporary, noticing_a_full_disk(out), ThreadPoolExecutor(num_cores()) as pool:
        (temporary / "images").mkdir(parents=True)
        write_sparse(temporary, small)
        write_stereo(temporary, mapped)

        def shrink(name: str) -> None:
            camera_id = images[name].camera_id
            sizes = ((camera.width, camera.height) for camera in (centred.cameras[camera_id], small.cameras[camera_id]))
            _write_picture(out / "dense" / "images" / name, path_inside(temporary / "images", name), *sizes)

        def move(name: str) -> PosedDepth:
            image = images[name]
            camera, target = reconstruction.cameras[image.camera_id], small.cameras[image.camera_id]
            return PosedDepth(
                depth=on_camera(depths[name], scene.network_from_image[index_of[name]], camera, target),
                matrix=target.calibration_matrix(),
                cam_from_world=image.cam_from_world().matrix(),
            )

        def write(name: str) -> None:
            maps = depth_map(views[name].depth, views[name].matrix)
            kept = confirmed(views, name, sources[name][:NUM_SOURCES])
            write_depth_map(temporary / "stereo", name, maps.keep(kept))

        list(pool.map(shrink, images))
        views = dict(zip(mapped, pool.map(move, mapped), strict=True))
        list(pool.map(write, mapped))
    return workspace


def _shrunk(centred: Reconstruction, scene: Scene, index_of: Mapping[str, int]) -> Reconstruction:
    """The model at the resolution of the pointmaps, where that is lower."""
    from dust3r_sfm.system._pycolmap import pycolmap

    small = pycolmap.Reconstruction(centred)
    axis_scales = np.linalg.norm(scene.network_from_image[:, :2, 0], axis=1)
    scale_of: dict[int, float] = {}
    for image in small.images.values():
        if image.name in index_of:
            scale = float(axis_scales[index_of[image.name]])
            scale_of[image.camera_id] = max(scale, scale_of.get(image.camera_id, 0.0))
    usual = float(np.median(axis_scales))
    for camera_id, camera in small.cameras.items():
        scale = min(scale_of.get(camera_id, usual), 1.0)
        camera.rescale(max(round(camera.width * scale), 1), max(round(camera.height * scale), 1))
    for image in small.images.values():
        before, now = centred.cameras[image.camera_id], small.cameras[image.camera_id]
        ratio = np.array([now.width / before.width, now.height / before.height])
        for point in image.points2D:
            point.xy = point.xy * ratio
    small.update_point_3d_errors()
    return small


def on_camera(
    depth: Float32[np.ndarray, "h w"],
    network_from_image: Float64[np.ndarray, "3 3"],
    camera: Camera,
    target: Camera,
) -> Float32[np.ndarray, "r s"]:
    """Move a depth map from the network grid to a pinhole camera at the same place, linear in inverse depth.

    Pixels with an unknown neighbour become unknown. Turns about the optical axis leave z as it is.
    """
    import cv2

    positions = network_from_raw(network_from_image, source_positions(camera, target).astype(np.float64))
    corner_is_zero = (positions - 0.5).astype(np.float32)  # OpenCV puts (0, 0) at the centre of the first pixel
    known = depth > 0
    inverse = np.where(known, 1.0 / np.where(known, depth, 1), 0).astype(np.float32)
    inverse = cv2.remap(inverse, corner_is_zero, None, cv2.INTER_LINEAR)
    complete = cv2.remap(known.astype(np.float32), corner_is_zero, None, cv2.INTER_LINEAR) > _ALL_NEIGHBOURS
    complete &= inverse > 0
    return np.where(complete, 1.0 / np.where(complete, inverse, 1), 0).astype(np.float32)


def _write_picture(source: Path, target: Path, size: Size, target_size: Size) -> None:
    try:
        with naming(source):
            picture = decode(source)
    except InputError as error:
        raise InputError(
            f"{source} is missing or damaged; export the model with its dense folder again.", path=source
        ) from error
    if picture.size != size:
        raise InputError(
            f"{source} has {picture.width}×{picture.height} pixels, its camera {size[0]}×{size[1]}; "
            "export the model again.",
            path=source,
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    save_image(target, np.asarray(picture.resize(target_size, Image.Resampling.LANCZOS)))
