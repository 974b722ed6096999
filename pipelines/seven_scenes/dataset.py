"""A scene of 7-Scenes: as hloc lays it out (poses and points from SfM), or as published (KinectFusion poses, depth)."""

from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import compose
from dust3r_sfm.images.colmap_models import read_model
from dust3r_sfm.images.known_cameras import known_camera
from dust3r_sfm.images.known_poses import read_poses
from dust3r_sfm.localization.depths import DepthReader, read_depth
from dust3r_sfm.localization.lift import DepthRaster
from dust3r_sfm.localization.reference import Reference, model_of_poses
from pipelines.benchmark import BenchmarkScene, read_lines, require_files
from pipelines.seven_scenes.published import SCENES
from pipelines.seven_scenes.registration import COLOUR, COLOUR_FROM_DEPTH, SIZE, register_depth

Layout = Literal["auto", "hloc", "raw"]
_MILLIMETRE = 0.001
"""In metres."""

_MAX_RENDERED = 1000.0
"""Depth of rendered maps, metres, from which hloc takes it for unknown."""


def read_scene(dataset: Path, name: str, layout: Layout = "auto", use_dense_depth: bool = False) -> BenchmarkScene:
    """Read a scene.

    Args:
        dataset: folder of the scenes.
        name: of the scene.
        layout: hloc's, the published one, or hloc's where it is there.
        use_dense_depth: with hloc's layout, also points by its rendered depth maps; the published one has only depth.

    Raises:
        InputError: the scene or a part of it is missing, or a file of it is damaged.
    """
    if name not in SCENES:
        raise InputError(f"7-Scenes has no scene {name}; its scenes are {', '.join(SCENES)}.")
    folder = dataset / name
    if not folder.is_dir():
        raise InputError(
            f"There is no scene {name} in {dataset}; unpack {name}.zip there, or leave it out of --scenes."
        )
    triangulated = dataset / "7scenes_sfm_triangulated" / name / "triangulated"
    if layout == "hloc" or (layout == "auto" and triangulated.is_dir()):
        return _of_hloc(dataset, name, triangulated, use_dense_depth)
    return _of_raw(folder, name)


def _of_hloc(dataset: Path, name: str, triangulated: Path, use_dense_depth: bool) -> BenchmarkScene:
    root = dataset / name
    model = read_model(triangulated)
    by_name = {image.name: image for image in model.images.values()}
    tests = dict(read_lines(triangulated / "list_test.txt"))
    for query, place in tests.items():
        if query not in by_name:
            raise InputError(f"{place}: the model has no image {query}; take both from the same archive.")
    require_files((root / image for image in by_name), f"the scene {name}", "unpack all sequences of the scene")
    cameras = {query: known_camera(by_name[query].camera) for query in tests}
    truth = {query: np.asarray(by_name[query].cam_from_world().matrix()) for query in tests}
    for query in tests:
        model.deregister_frame(by_name[query].frame_id)  # the map is made of the training images alone
    retrieval = dataset / "7scenes_densevlad_retrieval_top_10" / f"{name}_top10.txt"
    depth = dataset / "depth" / f"7scenes_{name}" / "train" / "depth"
    return BenchmarkScene(
        name=name,
        image_root=root,
        model=model,
        cameras=cameras,
        truth=truth,
        retrieval=retrieval if retrieval.is_file() else None,
        depth=(lambda reference: _rendered(reference, depth)) if use_dense_depth else None,
    )


def _of_raw(folder: Path, name: str) -> BenchmarkScene:
    mapping, queries = (_frames(folder, split) for split in ("TrainSplit.txt", "TestSplit.txt"))
    both = set(mapping) & set(queries)
    if both:
        raise InputError(f"{folder} has {min(both)} in TrainSplit.txt and TestSplit.txt; unpack the scene again.")
    frames = [*mapping, *queries]
    poses = [folder / frame.replace(".color.png", ".pose.txt") for frame in frames]
    depths = [folder / frame.replace(".color.png", ".depth.png") for frame in mapping]
    require_files([*poses, *depths], f"the scene {name}", "unpack all sequences of the scene")
    depth_from_world, _ = read_poses(folder, frames)
    cam_from_world = {frame: compose(COLOUR_FROM_DEPTH, pose) for frame, pose in depth_from_world.items()}
    mapped = {frame: cam_from_world[frame] for frame in mapping if frame in cam_from_world}
    truth = {frame: cam_from_world[frame] for frame in queries if frame in cam_from_world}
    return BenchmarkScene(
        name=name,
        image_root=folder,
        model=model_of_poses(dict.fromkeys(mapped, COLOUR), mapped),
        cameras=dict.fromkeys(truth, COLOUR),
        truth=truth,
        depth=lambda reference: _registered(reference, folder),
    )


def _frames(folder: Path, split: str) -> list[str]:
    """Names of the colour images of the sequences that a split file lists, as `sequence1` a line."""
    frames = []
    for line, place in read_lines(folder / split):
        number = line.removeprefix("sequence")
        if number == line or not number.isdecimal():
            raise InputError(f"{place}: '{line}' does not read sequence and a number, as in sequence1.")
        sequence = f"seq-{int(number):02d}"
        names = sorted(path.name for path in (folder / sequence).glob("frame-*.color.png"))
        if not names:
            raise InputError(f"{place}: {folder / sequence} holds no frame-*.color.png; unpack {sequence}.zip there.")
        frames += [f"{sequence}/{frame}" for frame in names]
    return frames


def _registered(reference: Reference, folder: Path) -> DepthReader:
    def read(index: int) -> DepthRaster:
        path = folder / reference.names[index].replace(".color.png", ".depth.png")
        depth = read_depth(path, _MILLIMETRE)
        if depth.shape != SIZE[::-1]:
            raise InputError(f"{path} has {depth.shape[1]} × {depth.shape[0]} pixels instead of 640 × 480.")
        return DepthRaster(depth=register_depth(depth), matrix=np.eye(3))

    return read


def _rendered(reference: Reference, folder: Path) -> DepthReader:
    """Depth maps that were rendered from a model of the scene into the colour camera; not all images have one."""
    paths = {index: folder / rendered_name(name) for index, name in enumerate(reference.names)}
    if not any(path.is_file() for path in paths.values()):
        raise InputError(f"{folder} has no rendered depth such as {paths[0].name}; leave --use_dense_depth out.")

    def read(index: int) -> DepthRaster | None:
        if not paths[index].is_file():
            return None
        depth = read_depth(paths[index], _MILLIMETRE)
        size, (height, width) = reference.views[index].size, depth.shape
        depth = np.where(depth < _MAX_RENDERED, depth, np.float32(0))
        return DepthRaster(depth=depth, matrix=np.diag([width / size[0], height / size[1], 1.0]))

    return read


def rendered_name(image: str) -> str:
    """`seq-01/frame-000000.color.png` is rendered as `seq01_frame-000000.pose.depth.tiff`."""
    path = PurePosixPath(image)
    return f"{path.parent.name.replace('-', '')}_{path.name.replace('.color.png', '.pose.depth.tiff')}"
