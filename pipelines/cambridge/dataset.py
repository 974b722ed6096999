"""A scene of Cambridge Landmarks: as hloc lays it out (a retriangulated model), or as published (VisualSFM's)."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.colmap_models import read_model
from dust3r_sfm.images.known_cameras import known_camera
from dust3r_sfm.localization.reference import model_of_poses
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.types import KnownCamera
from pipelines.benchmark import BenchmarkScene, read_lines, require_files
from pipelines.cambridge.nvm import Nvm, nvm_camera, read_nvm
from pipelines.cambridge.published import SCENES

Layout = Literal["auto", "hloc", "raw"]
_HEADER_LINES = 2
"""Of dataset_train.txt and dataset_test.txt, without the empty one after them."""

_FAR = 10000.0
"""A camera farther away is a mistake of the data set."""


def read_scene(dataset: Path, name: str, layout: Layout = "auto") -> BenchmarkScene:
    """Read a scene.

    Args:
        dataset: folder of the scenes.
        name: of the scene.
        layout: hloc's, the published one, or hloc's where it is there.

    Raises:
        InputError: the scene or a part of it is missing, or a file of it is damaged.
    """
    if name not in SCENES:
        raise InputError(f"The benchmark has no scene {name}; its scenes are {', '.join(SCENES)}.")
    if not (dataset / name).is_dir():
        raise InputError(
            f"There is no scene {name} in {dataset}; unpack {name}.zip there, or leave it out of --scenes."
        )
    colmap = dataset / "CambridgeLandmarks_Colmap_Retriangulated_1024px" / name
    if layout == "hloc" or (layout == "auto" and colmap.is_dir()):
        return _of_hloc(dataset / name, name, colmap)
    return _of_raw(dataset / name, name)


def _of_hloc(root: Path, name: str, colmap: Path) -> BenchmarkScene:
    model, every = read_model(colmap / "model_train"), read_model(colmap / "empty_all")
    by_name = {image.name: image for image in every.images.values()}
    tests = dict(read_lines(colmap / "list_query.txt"))
    for query, place in tests.items():
        if query not in by_name:
            raise InputError(f"{place}: the model empty_all has no image {query}; take both from the same archive.")
    mapping = [image.name for image in model.images.values()]
    require_files((root / image for image in (*mapping, *tests)), f"the scene {name}", "unpack the whole scene")
    _rescale(model, root, mapping)
    _rescale(every, root, list(tests))
    return BenchmarkScene(
        name=name,
        image_root=root,
        model=model,
        cameras={query: known_camera(by_name[query].camera) for query in tests},
        truth={query: np.asarray(by_name[query].cam_from_world().matrix()) for query in tests},
    )


def _rescale(model: Reconstruction, root: Path, names: list[str]) -> None:
    """Bring the cameras, made at 1024 pixels, and the observations of the named images to the size of their files."""
    wanted = set(names)
    scales: dict[int, np.ndarray] = {}
    for image in model.images.values():
        if image.name not in wanted:
            continue
        if image.camera_id not in scales:
            camera = model.camera(image.camera_id)
            width, height = _size(root / image.name)
            if abs(width * camera.height - height * camera.width) > max(width, height):
                raise InputError(
                    f"{root / image.name} has {width} × {height} pixels, another shape than the {camera.width} × "
                    f"{camera.height} of its model; give the photographs of the data set."
                )
            scales[image.camera_id] = np.array([width / camera.width, height / camera.height])
            camera.rescale(width, height)
        for point in image.points2D:
            point.xy = point.xy * scales[image.camera_id]


def _of_raw(root: Path, name: str) -> BenchmarkScene:
    train, test = (_poses(root / f"dataset_{part}.txt") for part in ("train", "test"))
    both = set(train) & set(test)
    if both:
        raise InputError(f"{root} has {min(both)} in dataset_train.txt and dataset_test.txt; unpack the scene again.")
    require_files((root / image for image in (*train, *test)), f"the scene {name}", "unpack the whole scene")
    nvm = read_nvm(root / "reconstruction.nvm")
    index_of = {_stem(image): index for index, image in enumerate(nvm.names)}
    cameras: dict[str, KnownCamera] = {}
    for image in (*train, *test):
        index = index_of.get(_stem(image))
        if index is None:
            raise InputError(f"{root / 'reconstruction.nvm'} has no camera of {image}; unpack the scene again.")
        cameras[image] = nvm_camera(nvm.focal[index], nvm.distortion[index], _size(root / image))
    model = model_of_poses({image: cameras[image] for image in train}, train)
    _add_points(model, nvm)
    return BenchmarkScene(
        name=name, image_root=root, model=model, cameras={image: cameras[image] for image in test}, truth=test
    )


def _poses(path: Path) -> dict[str, np.ndarray]:
    """Camera from world by image: a line holds the image, the camera's centre and the quaternion (w x y z)."""
    poses: dict[str, np.ndarray] = {}
    for line, place in read_lines(path)[_HEADER_LINES:]:
        name, *numbers = line.split()
        try:
            x, y, z, *quaternion = (float(number) for number in numbers)
            rotation = Rotation.from_quat(quaternion, scalar_first=True).as_matrix()
        except ValueError as error:
            raise InputError(f"{place}: it does not read image x y z qw qx qy qz.") from error
        if name in poses:
            raise InputError(f"{place}: {name} is listed a second time.")
        if max(abs(x), abs(y), abs(z)) <= _FAR:
            poses[name] = np.column_stack([rotation, -rotation @ (x, y, z)])
    if not poses:
        raise InputError(f"{path} lists no image; unpack the scene again.")
    return poses


def _add_points(model: Reconstruction, nvm: Nvm) -> None:
    """Add the points that mapping images see; what only queries see is not of the map."""
    from dust3r_sfm.system._pycolmap import pycolmap

    image_at = _images_by_index(model, nvm)
    points2d: dict[int, list[Any]] = {image.image_id: [] for image in image_at.values()}
    tracks = []
    for point in nvm.points:
        elements = []
        for index, xy in zip(point.image.tolist(), point.xy, strict=True):
            image = image_at.get(index)
            if image is not None:
                seen = points2d[image.image_id]
                elements.append(pycolmap.TrackElement(image.image_id, len(seen)))
                seen.append(pycolmap.Point2D(xy + image.camera.params[1:3]))
        tracks.append(elements)
    for image in image_at.values():
        image.points2D = pycolmap.Point2DList(points2d[image.image_id])
    for point, elements in zip(nvm.points, tracks, strict=True):
        if elements:
            model.add_point3D(point.xyz, pycolmap.Track(elements), np.array(point.colour, np.uint8))


def _images_by_index(model: Reconstruction, nvm: Nvm) -> Mapping[int, Any]:
    by_stem = {_stem(image.name): image for image in model.images.values()}
    return {index: by_stem[_stem(name)] for index, name in enumerate(nvm.names) if _stem(name) in by_stem}


def _stem(name: str) -> str:
    """VisualSFM was given JPEG files, the data set holds PNG files."""
    return str(PurePosixPath(name).with_suffix(""))


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path, formats=["PNG", "JPEG"]) as picture:
            return picture.size
    except OSError as error:
        raise InputError(f"{path} is not a photograph that can be read; unpack the scene again.") from error
