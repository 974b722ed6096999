"""Cameras that the user knows: COLMAP models, cameras.txt, camera strings, K.txt, transforms.json, poses.json."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.colmap_models import find_model, read_files, read_model
from dust3r_sfm.images.foreign.colmap_camera import colmap_camera as colmap_camera
from dust3r_sfm.images.foreign.colmap_camera import focal_of_angle, is_model, read_camera, refuse_impossible
from dust3r_sfm.images.foreign.colmap_camera import known_camera as known_camera
from dust3r_sfm.images.known_names import resolve
from dust3r_sfm.system import text
from dust3r_sfm.types import KnownCamera, Size, View

MAX_DISTORTION = 0.06
"""Largest shift of a pixel by its lens, over the longer side, that a pinhole still stands for."""
_MODEL_NAMES = frozenset({"SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV"})
"""Perspective models that every reader of COLMAP's files knows."""
_UNDISTORT = "colmap image_undistorter --image_path PHOTOS --input_path MODEL --output_path UNDISTORTED"


def read_intrinsics(
    source: str, views: Sequence[View], *, any_lens: bool = False
) -> tuple[dict[str, KnownCamera], list[str]]:
    """Read the cameras of photographs.

    Args:
        source: folder of a COLMAP model, transforms.json or poses.json (by image name); cameras.txt or cameras.bin with
            one camera, K.txt (3 × 3, pixels of the files, the centre of the first pixel at 0.5) or a camera string such
            as `PINHOLE,1200,800,fx,fy,cx,cy` (for all photographs).
        views: the photographs.
        any_lens: take lenses that no pinhole stands for, too.

    Returns:
        The camera of each photograph that has one, by name, and what the user should know about the others.

    Raises:
        InputError: the source cannot be read, fits no photograph, or holds a camera that cannot be used: of another
            size than its file, or (unless `any_lens`) fisheye or with a strong distortion.
    """
    path = Path(source)
    by_name: Mapping[str, KnownCamera] | None = None
    if path.is_dir():
        by_name = _of_model(path)
    elif path.suffix.lower() == ".json" and path.is_file():
        by_name = _of_json(path, {view.name: view.size for view in views})
    if by_name is not None:
        found, warnings = resolve(by_name, [view.name for view in views], source, "camera")
    else:
        camera = _of_one_size(path, views) if path.is_file() else _of_text(source)
        found, warnings = dict.fromkeys((view.name for view in views), camera), []
    check_cameras(found, views, source, any_lens=any_lens)
    return found, warnings


def check_cameras(
    cameras: Mapping[str, KnownCamera], views: Sequence[View], source: str | Path, *, any_lens: bool = False
) -> None:
    """Refuse cameras that cannot be used for their photographs.

    Raises:
        InputError: a camera is of another size than its file or has impossible parameters, or (unless `any_lens`) is
            not perspective or with a strong distortion.
    """
    for name, camera in cameras.items():
        refuse_impossible(camera, name, source)
    for view in views:
        if view.name in cameras and cameras[view.name].size != view.size:
            (width, height), size = cameras[view.name].size, view.size
            raise InputError(
                f"The camera of {view.name} in {source} has {width} × {height} pixels but the file has {size[0]} × "
                f"{size[1]} (as stored, not turned by EXIF); give the camera of the files as they are."
            )
    if not any_lens:
        for camera in dict.fromkeys(cameras.values()):
            _refuse_strong(camera, source)


def is_strong(camera: KnownCamera) -> bool:
    """Whether no pinhole stands for a lens: it is no perspective one, or shifts pixels by more than MAX_DISTORTION."""
    return camera.model not in _MODEL_NAMES or not largest_shift(camera) <= MAX_DISTORTION * max(camera.size)


def straighten(camera: KnownCamera, xy: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
    """Move raw pixels to where a pinhole of the same matrix would see them."""
    made = colmap_camera(camera)
    matrix = made.calibration_matrix()
    return np.asarray(np.asarray(made.cam_from_img(xy)) * matrix[(0, 1), (0, 1)] + matrix[:2, 2])


def _refuse_strong(camera: KnownCamera, source: str | Path) -> None:
    if camera.model not in _MODEL_NAMES:
        raise InputError(
            f"{source} holds a camera of the model {camera.model}, which is not a perspective one; undistort the "
            f"photographs first ({_UNDISTORT}) and give the cameras and photographs in UNDISTORTED."
        )
    if is_strong(camera):
        raise InputError(
            f"{source} holds a camera whose distortion shifts pixels by up to {largest_shift(camera):.0f}; undistort "
            f"the photographs first ({_UNDISTORT}) and give the cameras and photographs in UNDISTORTED."
        )


def largest_shift(camera: KnownCamera) -> float:
    """How far a lens moves a pixel of the border, raw pixels; NaN or infinite where it has no ray for one."""
    (width, height), along = camera.size, np.linspace(0, 1, 9)
    border = np.array([[x * width, y * height] for x in along for y in along if x in (0, 1) or y in (0, 1)])
    return float(np.linalg.norm(straighten(camera, border) - border, axis=1).max())


def _of_model(folder: Path) -> dict[str, KnownCamera]:
    return {image.name: known_camera(image.camera) for image in read_model(folder).images.values()}


def _of_one_size(path: Path, views: Sequence[View]) -> KnownCamera:
    """The camera of all photographs: the only one of cameras.txt or cameras.bin, or K.txt."""
    if path.stem == "cameras":
        return _of_cameras_file(path)
    try:
        lines = text.read_text(path).replace(",", " ").splitlines()
        matrix = np.loadtxt([line for line in lines if line.strip()] or ["none"], ndmin=2)
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path} is neither cameras.txt nor a 3 × 3 matrix of numbers (K.txt); correct it.", path=path
        ) from error
    if matrix.shape != (3, 3) or not np.allclose(matrix[(0, 1, 2, 2, 2), (1, 0, 0, 1, 2)], (0, 0, 0, 0, 1)):
        raise InputError(
            f"{path} does not hold fx 0 cx / 0 fy cy / 0 0 1, the matrix of a camera without skew; correct it.",
            path=path,
        )
    sizes = sorted({view.size for view in views})
    if len(sizes) > 1:
        raise InputError(
            f"{path} cannot be the matrix of all photographs, because their sizes differ; "
            "give a COLMAP model with one camera for each size instead.",
            path=path,
        )
    params = tuple(map(float, matrix[(0, 1, 0, 1), (0, 1, 2, 2)]))
    return KnownCamera(model="PINHOLE", size=sizes[0], params=params)


def _of_cameras_file(path: Path) -> KnownCamera:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        is_binary = path.suffix == ".bin"
        try:
            content = path.read_bytes() if is_binary else text.read_text(path).encode()
            (folder / path.name).write_bytes(content)
            for stem in ("images", "points3D"):  # COLMAP reads a model as a whole; these two are empty
                (folder / f"{stem}{path.suffix}").write_bytes(bytes(8) if is_binary else b"")
            cameras = list(read_files(folder).cameras.values())
        except (OSError, ValueError, InputError) as error:
            raise InputError(
                f"{path} cannot be read as COLMAP's list of cameras; export it again.", path=path
            ) from error
    if len(cameras) != 1:
        remedy = "give its folder" if find_model(path.parent) else "give the model that says whose is which"
        raise InputError(f"{path} holds {len(cameras)} cameras, not one for all photographs; {remedy}.", path=path)
    return known_camera(cameras[0])


def _of_text(source: str) -> KnownCamera:
    """Read a camera string: model, width, height and parameters, parted by commas or blanks."""
    name, *numbers = source.replace(",", " ").split() or [""]
    if not is_model(name):
        raise InputError(
            f"There is no file {source}, and it is no camera either: a camera reads MODEL,width,height,parameters, as "
            "in PINHOLE,1200,800,fx,fy,cx,cy."
        )
    try:
        return read_camera(name, numbers[:2], numbers[2:])
    except ValueError as error:
        raise InputError(
            f"The camera {source} does not read {name},width,height,{','.join(params_of(name))}, numbers that a camera "
            "can have."
        ) from error


def params_of(model: str) -> list[str]:
    """Names of the parameters of one of COLMAP's camera models, in order."""
    from dust3r_sfm.system._pycolmap import pycolmap

    info: str = pycolmap.Camera.create_from_model_name(1, model, 1.0, 2, 2).params_info
    return [name.strip() for name in info.split(",")]


def _of_json(path: Path, sizes: Mapping[str, Size]) -> dict[str, KnownCamera]:
    content = read_json(path)
    try:
        if "frames" in content:
            only_size = next(iter(sizes.values())) if len(set(sizes.values())) == 1 else None
            return {name_of(frame): _of_frame(content | frame, only_size) for frame in content["frames"]}
        entries = {name: entry["camera"] for name, entry in content.items() if "camera" in entry}
        return {
            name: read_camera(camera["model"], (camera["width"], camera["height"]), camera["params"])
            for name, camera in entries.items()
        }
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{path} is neither a transforms.json nor a poses.json ({error!r}); correct it.", path=path
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    try:
        content = text.read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); write it again.", path=path) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is neither a transforms.json nor a poses.json; give one of them.", path=path)
    images = content.get("images")
    return images if isinstance(images, dict) else content


def name_of(frame: Mapping[str, Any]) -> str:
    """The photograph of a frame of transforms.json.

    Raises:
        TypeError: what stands there is no name.
    """
    name = frame["file_path"]
    if not isinstance(name, str):
        raise TypeError(f"file_path is {name!r}, not a name")
    return name


def _of_frame(frame: Mapping[str, Any], only_size: Size | None) -> KnownCamera:
    """The camera of a frame of transforms.json (nerfstudio's documentation, "Data conventions")."""
    width, height = (float(frame["w"]), float(frame["h"])) if "w" in frame else only_size or (0, 0)
    focal_x = float(frame["fl_x"]) if "fl_x" in frame else focal_of_angle(width, float(frame["camera_angle_x"]))
    pinhole = (
        focal_x,
        float(frame.get("fl_y", focal_x)),
        float(frame.get("cx", width / 2)),
        float(frame.get("cy", height / 2)),
    )
    k1, k2, k3, p1, p2 = (float(frame.get(name, 0.0)) for name in ("k1", "k2", "k3", "p1", "p2"))
    model = "OPENCV_FISHEYE" if frame.get("is_fisheye") else str(frame.get("camera_model", "OPENCV"))
    if model == "OPENCV_FISHEYE":
        return read_camera(model, (width, height), (*pinhole, k1, k2, k3, float(frame.get("k4", 0.0))))
    if model not in _MODEL_NAMES:
        raise ValueError(f"camera_model {model} is not one that is read")
    if frame.get("k4"):
        raise ValueError("k4 of a perspective camera, which programs read differently")
    if k3:
        return read_camera("FULL_OPENCV", (width, height), (*pinhole, k1, k2, p1, p2, k3, 0, 0, 0))
    if k1 or k2 or p1 or p2:
        return read_camera("OPENCV", (width, height), (*pinhole, k1, k2, p1, p2))
    return read_camera("PINHOLE", (width, height), pinhole)
