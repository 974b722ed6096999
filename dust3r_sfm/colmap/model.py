"""A `Scene` and its `Tracks` as a COLMAP model in the original pixels of the files, on disk and back.

Cameras and positions are those of the raw pixel grid, with EXIF orientation not applied, because COLMAP, hloc and the
splatting trainers ignore it. From here on nothing but the aligned depths is on the network grid.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.errors import InputError, ReconstructionError
from dust3r_sfm.images.colmap_models import read_model as read_model
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.system._pycolmap import Camera
from dust3r_sfm.system._pycolmap import Reconstruction as Reconstruction
from dust3r_sfm.system.files import atomic_path, noticing_a_full_disk
from dust3r_sfm.tracks.cameras import posed_cameras
from dust3r_sfm.tracks.keypoints import keypoint_rows, match_ends, unique_keypoints
from dust3r_sfm.types import Matches, Scene, Tracks

_SAME_CAMERA_OF_SIDE = 1e-4
"""Intrinsics of one camera group that differ by less than this share of the longer side are one camera; chosen by
hand."""


def image_of_id(image_id: int) -> int:
    """Our index of an image of a model that `reconstruction_from_scene` made."""
    return image_id - 1


def id_of_image(index: int) -> int:
    """COLMAP's id of an image by our index, in a model that `reconstruction_from_scene` made."""
    return index + 1


def reconstruction_from_scene(scene: Scene, tracks: Tracks, matches: Sequence[Matches] = ()) -> Reconstruction:
    """Build the model of the registered images, in original raw pixels.

    Image ids are those of `id_of_image`. An image's points2D are its distinct positions in `tracks` and
    `matches`, ordered by x, then y; those without a 3-D point belong to `matches` alone.

    Args:
        scene: cameras on the network grid.
        tracks: points and their observations; every observing image is registered.
        matches: correspondences whose keypoints the model lists as well, for `write_database`.

    Raises:
        ReconstructionError: when no image is registered.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    registered = np.flatnonzero(scene.registered)
    if len(registered) == 0:
        raise ReconstructionError("No image could be placed, so there is no model; give photographs that overlap more.")
    raw = posed_cameras(scene)
    cameras = pycolmap.Reconstruction()
    camera_ids: dict[int, int] = {}
    for camera_id, (members, matrix) in enumerate(_shared_cameras(scene, registered, raw.matrices), start=1):
        view = scene.views[members[0]]
        camera = _pinhole_camera(matrix, view.size, _rounding(scene, members[0]))
        if view.known_camera is not None:
            camera = colmap_camera(view.known_camera)
        camera.camera_id = camera_id
        cameras.add_camera_with_trivial_rig(camera)
        camera_ids.update(dict.fromkeys(members, camera_id))
    for index in registered.tolist():
        image = pycolmap.Image(scene.names[index], np.zeros((0, 2)), camera_ids[index], id_of_image(index))
        cameras.add_image_with_trivial_frame(image, pycolmap.Rigid3d(raw.cam_from_world[index]))
    return with_points(cameras, tracks, matches)


def with_points(cameras: Reconstruction, tracks: Tracks, matches: Sequence[Matches] = ()) -> Reconstruction:
    """Give the cameras and poses of a model, and the points and keypoints of tracks and matches.

    Args:
        cameras: a model whose image ids are those of `id_of_image`; its points and keypoints do not count.
        tracks: points and their observations; every observing image is in the model.
        matches: correspondences whose keypoints the model lists as well, for `write_database`.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    keypoints = _keypoints(tracks, matches, 1 + max(map(image_of_id, cameras.images), default=-1))
    reconstruction = pycolmap.Reconstruction()
    for camera_id, camera in sorted(cameras.cameras.items()):
        alike = pycolmap.Camera(model=camera.model, width=camera.width, height=camera.height, params=camera.params)
        alike.camera_id, alike.has_prior_focal_length = camera_id, camera.has_prior_focal_length
        reconstruction.add_camera_with_trivial_rig(alike)
    for image_id, image in sorted(cameras.images.items()):
        copy = pycolmap.Image(image.name, keypoints[image_of_id(image_id)], image.camera_id, image_id)
        reconstruction.add_image_with_trivial_frame(copy, image.cam_from_world())
    _add_points(reconstruction, tracks, keypoints)
    return reconstruction


NO_TRACKS = Tracks(
    xyz=np.zeros((0, 3)),
    rgb=np.zeros((0, 3), np.uint8),
    track_of=np.zeros(0, np.int64),
    image_of=np.zeros(0, np.int64),
    xy=np.zeros((0, 2)),
)
"""What a model of cameras alone is made with."""


def write_model(reconstruction: Reconstruction, folder: Path, text: bool = False) -> None:
    """Write the five binary files (cameras, images, points3D, rigs, frames) as a new folder in place of an old one.

    Args:
        reconstruction: the model.
        folder: replaced as a whole, so that nothing of an earlier run stays (stale frames would override poses).
        text: write the text files beside the binary ones.

    Raises:
        InputError: when `text` is asked for and a name holds a blank, which COLMAP's text format cuts.
        OutputError: when the disk is full or the folder cannot be written.
    """
    blank = next((image.name for image in reconstruction.images.values() if any(map(str.isspace, image.name))), None)
    if text and blank is not None:
        raise InputError(f"'{blank}' holds a blank, which COLMAP's text format cuts; rename it or write binary files.")
    with atomic_path(folder) as temporary, noticing_a_full_disk(folder.parent):
        temporary.mkdir()
        reconstruction.write_binary(str(temporary))
        if text:
            reconstruction.write_text(str(temporary))


def _keypoints(tracks: Tracks, matches: Sequence[Matches], num_images: int) -> list[Float64[np.ndarray, "_ 2"]]:
    """Distinct positions of each image, over tracks and matches."""
    image_of, xy = match_ends(matches)
    image, position, _ = unique_keypoints(np.append(image_of, tracks.image_of), np.concatenate([xy, tracks.xy]))
    image, position = image[image < num_images], position[image < num_images]
    return np.split(position, np.searchsorted(image, np.arange(1, num_images)))


def _shared_cameras(
    scene: Scene, registered: Int64[np.ndarray, " r"], intrinsics: Float64[np.ndarray, "n 3 3"]
) -> list[tuple[list[int], Float64[np.ndarray, "3 3"]]]:
    """Images that share a camera, with its matrix: one group, one raw size, and intrinsics that agree.

    A turned camera writes the same raw grid, so images of different orientation may share theirs.
    """
    clusters: list[tuple[tuple[object, ...], list[int]]] = []
    for index in map(int, registered):
        view = scene.views[index]
        key = (view.camera_group, view.known_camera, view.size)
        tolerance = _SAME_CAMERA_OF_SIDE * max(view.size)
        for other_key, members in clusters:
            difference = _square(intrinsics[index], _rounding(scene, index)) - _square(
                intrinsics[members[0]], _rounding(scene, members[0])
            )
            if key == other_key and np.abs(difference).max() <= tolerance:
                members.append(index)
                break
        else:
            clusters.append((key, [index]))
    return [(members, intrinsics[members].mean(axis=0)) for _, members in clusters]


def _rounding(scene: Scene, index: int) -> float:
    """How much the two axes' scales differ because each side of the network grid is rounded by itself, as a share."""
    scale_x, scale_y = np.linalg.norm(scene.network_from_image[index, :2, :2], axis=0)
    return 1.01 * abs(float(scale_x / scale_y) - 1.0) + 1e-6


def _square(intrinsics: Float64[np.ndarray, "3 3"], rounding: float) -> Float64[np.ndarray, "3 3"]:
    """Give both axes the mean focal length where they differ by rounding only."""
    focal_x, focal_y = intrinsics[0, 0], intrinsics[1, 1]
    square = intrinsics.copy()
    if abs(focal_x / focal_y - 1.0) <= rounding:
        square[0, 0] = square[1, 1] = (focal_x + focal_y) / 2.0
    return square


def _pinhole_camera(intrinsics: Float64[np.ndarray, "3 3"], size: tuple[int, int], rounding: float) -> Camera:
    """SIMPLE_PINHOLE where fx and fy differ by rounding only, PINHOLE otherwise."""
    from dust3r_sfm.system._pycolmap import pycolmap

    square = _square(intrinsics, rounding)
    focals = [square[0, 0]] if square[0, 0] == square[1, 1] else [square[0, 0], square[1, 1]]
    camera = pycolmap.Camera(
        model="SIMPLE_PINHOLE" if len(focals) == 1 else "PINHOLE",
        width=size[0],
        height=size[1],
        params=[*focals, square[0, 2], square[1, 2]],
    )
    camera.has_prior_focal_length = True
    return camera


def _add_points(reconstruction: Reconstruction, tracks: Tracks, keypoints: list[Float64[np.ndarray, "_ 2"]]) -> None:
    """Add the points with their observations and reprojection errors."""
    from dust3r_sfm.system._pycolmap import pycolmap

    row_of = np.empty(len(tracks.xy), dtype=np.int64)
    for image, positions in enumerate(keypoints):
        seen = np.flatnonzero(tracks.image_of == image)
        row_of[seen] = keypoint_rows(positions, tracks.xy[seen])
    order = np.argsort(tracks.track_of, kind="stable")
    ends = np.searchsorted(tracks.track_of[order], np.arange(len(tracks.xyz)), side="right").tolist()
    elements = list(
        map(pycolmap.TrackElement, map(id_of_image, tracks.image_of[order].tolist()), row_of[order].tolist())
    )
    start = 0
    for xyz, rgb, end in zip(tracks.xyz, tracks.rgb, ends, strict=True):
        reconstruction.add_point3D(xyz, pycolmap.Track(elements[start:end]), rgb)
        start = end
    reconstruction.update_point_3d_errors()
