"""Every program's file says the same of the same cameras; what cannot be used is refused in a sentence."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import apply, centres, invert, rotation_exp
from dust3r_sfm.images.foreign.read import read_foreign
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.images.resize import DEFAULT_GRID, network_grid
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import ImageSet, KnownCamera, View

SIZE = (640, 480)
NAMES = ("a.jpg", "b.jpg", "sub/c.jpg", "d.jpg")
RADIAL = KnownCamera(model="RADIAL", size=SIZE, params=(500.0, 320.0, 240.0, -0.1, 0.02))
SHIFTED = KnownCamera(model="OPENCV", size=SIZE, params=(500.0, 505.0, 317.0, 243.0, -0.1, 0.02, 0.001, -0.002))
FISHEYE = KnownCamera(
    model="OPENCV_FISHEYE", size=SIZE, params=(300.0, 300.0, 318.0, 241.0, 0.01, -0.02, 0.003, -0.001)
)
PLACES = np.random.default_rng(3).uniform((-0.5, -0.4, 2.0), (0.5, 0.4, 4.0), (20, 3))


def views(names: tuple[str, ...] = NAMES, size: tuple[int, int] = SIZE, orientation: int = 1) -> tuple[View, ...]:
    network_size, network_from_image = network_grid(size, orientation, DEFAULT_GRID)
    return tuple(
        View(
            name=name,
            path=Path("photos") / name,
            size=size,
            orientation=orientation,
            network_size=network_size,
            network_from_image=network_from_image,
            focal_prior=None,
            camera_group=0,
        )
        for name in names
    )


IMAGES = ImageSet(root=Path("photos"), views=views())
POSES = np.concatenate(
    [rotation_exp(np.random.default_rng(1).normal(size=(4, 3))), np.random.default_rng(2).normal(size=(4, 3, 1))],
    axis=2,
)
WORLD_FROM_CAM = invert(POSES)
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def square(matrix: np.ndarray) -> np.ndarray:
    return np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]])


def write_model(folder: Path, camera: KnownCamera = SHIFTED, text: bool = False) -> Path:
    model = pycolmap.Reconstruction()
    made = colmap_camera(camera)
    made.camera_id = 1
    model.add_camera_with_trivial_rig(made)
    for number, (name, pose) in enumerate(zip(NAMES, POSES, strict=True), start=1):
        image = pycolmap.Image(name, np.zeros((0, 2)), 1, number)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(pose))
    folder.mkdir(parents=True, exist_ok=True)
    (model.write_text if text else model.write_binary)(str(folder))
    return folder


def write_text_model(folder: Path) -> Path:
    return write_model(folder, text=True)


def frames(**given: Any) -> list[dict[str, Any]]:
    return [
        {"file_path": f"./images/{name}", "transform_matrix": (square(pose) @ OPENGL).tolist(), **given}
        for name, pose in zip(NAMES, WORLD_FROM_CAM, strict=True)
    ]


LENS = dict(zip(("fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2"), SHIFTED.params, strict=True))
FISHEYE_LENS = dict(zip(("fl_x", "fl_y", "cx", "cy", "k1", "k2", "k3", "k4"), FISHEYE.params, strict=True))
WH = {"w": SIZE[0], "h": SIZE[1]}


def write_transforms(folder: Path, content: dict[str, Any] | None = None) -> Path:
    content = content or {
        "camera_model": "OPENCV",
        **WH,
        **LENS,
        "frames": frames(),
        "applied_transform": [[1, 0, 0, 0]],
    }
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder / "transforms.json"


def write_frame_lenses(folder: Path) -> Path:
    return write_transforms(folder, {"frames": frames(**LENS, **WH)})


def write_fisheye(folder: Path) -> Path:
    return write_transforms(folder, {"camera_model": "OPENCV_FISHEYE", **WH, **FISHEYE_LENS, "frames": frames()})


def write_ngp_fisheye(folder: Path) -> Path:
    return write_transforms(folder, {"is_fisheye": True, "aabb_scale": 16, **WH, **FISHEYE_LENS, "frames": frames()})


def write_poses(folder: Path) -> Path:
    camera = {"model": SHIFTED.model, "width": SIZE[0], "height": SIZE[1], "params": list(SHIFTED.params)}
    content = {
        name: {
            "qvec_cam_from_world": Rotation.from_matrix(pose[:, :3]).as_quat(scalar_first=True).tolist(),
            "tvec": pose[:, 3].tolist(),
            "camera": camera,
        }
        for name, pose in zip(NAMES, POSES, strict=True)
    }
    (folder / "poses.json").write_text(json.dumps(content))
    return folder / "poses.json"


def write_bundle(folder: Path) -> Path:
    lines = ["# Bundle file v0.3", f"{len(NAMES) + 1} 0"]
    for pose in POSES:
        lines.append(" ".join(map(str, (RADIAL.params[0], *RADIAL.params[3:]))))
        lines += [
            " ".join(map(str, row)) for row in np.vstack([OPENGL[:3, :3] @ pose[:, :3], OPENGL[:3, :3] @ pose[:, 3]])
        ]
    lines += ["0 0 0"] + ["0 0 0"] * 4  # a photograph that Bundler did not register
    (folder / "bundle.out").write_text("\n".join(lines) + "\n")
    (folder / "list.txt").write_text("\n".join([f"/home/x/{name} 0 500" for name in (*NAMES, "e.jpg")]) + "\n")
    return folder / "bundle.out"


def write_nvm(folder: Path) -> Path:
    lines = ["NVM_V3 ", "", str(len(NAMES))]
    for name, pose in zip(NAMES, POSES, strict=True):
        quaternion = Rotation.from_matrix(pose[:, :3]).as_quat(scalar_first=True)
        lines.append(f"{name}\t500 {' '.join(map(str, (*quaternion, *centres(pose))))} 0.1 0")
    (folder / "model.nvm").write_text("\n".join([*lines, "", "0", ""]))
    return folder / "model.nvm"


def write_metashape(folder: Path, extra: str = "", chunk: str = "") -> Path:
    fx, fy, cx, cy, k1, k2, p1, p2 = SHIFTED.params
    lens = {"f": fy, "b1": fx - fy, "cx": cx - 320, "cy": cy - 240, "k1": k1, "k2": k2, "p1": p2, "p2": p1}
    numbers = "".join(f"<{tag}>{value}</{tag}>" for tag, value in lens.items())
    cameras = "".join(
        f'<camera id="{i}" sensor_id="0" label="{Path(name).stem}"><transform>'
        f"{' '.join(map(str, square(pose).ravel()))}</transform></camera>"
        for i, (name, pose) in enumerate(zip(NAMES, WORLD_FROM_CAM, strict=True))
    )
    (folder / "cameras.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><document version="2.0.0"><chunk><sensors>'
        '<sensor id="0" type="frame"><resolution width="640" height="480"/>'
        f'<calibration type="frame" class="adjusted"><resolution width="640" height="480"/>'
        f"{numbers}{extra}</calibration>"
        f'</sensor></sensors><cameras>{cameras}<camera id="9" sensor_id="0" label="e"/></cameras>{chunk}'
        "</chunk></document>"
    )
    return folder / "cameras.xml"


def write_polycam(folder: Path) -> Path:
    (folder / "keyframes" / "cameras").mkdir(parents=True)
    for name, pose in zip(NAMES, WORLD_FROM_CAM, strict=True):
        matrix = pose @ OPENGL
        content = {f"t_{row}{column}": matrix[row, column] for row in range(3) for column in range(4)}
        content |= {"fx": 500.0, "fy": 505.0, "cx": 317.0, "cy": 243.0, "width": 640, "height": 480}
        (folder / "keyframes" / "cameras" / f"{Path(name).stem}.json").write_text(json.dumps(content))
    return folder


PINHOLE = KnownCamera(model="PINHOLE", size=SIZE, params=(500.0, 505.0, 317.0, 243.0))
NVM = KnownCamera(model="SIMPLE_RADIAL", size=SIZE, params=(500.0, 320.0, 240.0, -0.1))
WRITERS: dict[Callable[[Path], Path], KnownCamera] = {
    write_model: SHIFTED,
    write_text_model: SHIFTED,
    write_transforms: SHIFTED,
    write_frame_lenses: SHIFTED,
    write_fisheye: FISHEYE,
    write_ngp_fisheye: FISHEYE,
    write_poses: SHIFTED,
    write_bundle: RADIAL,
    write_nvm: NVM,
    write_metashape: SHIFTED,
    write_polycam: PINHOLE,
}


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
def test_every_program_says_the_same(writer, tmp_path):
    """The same points fall on the same pixels."""
    found, _ = read_foreign(writer(tmp_path), IMAGES)
    assert sorted(found) == sorted(NAMES)
    lens = colmap_camera(WRITERS[writer])
    for name, pose in zip(NAMES, POSES, strict=True):
        np.testing.assert_allclose(found[name].cam_from_world, pose, atol=1e-9)
        camera = found[name].camera
        assert camera is not None
        assert camera.size == SIZE
        np.testing.assert_allclose(colmap_camera(camera).img_from_cam(PLACES), lens.img_from_cam(PLACES), atol=1e-6)


def test_the_transform_of_a_chunk_is_applied(tmp_path):
    chunk = (
        "<transform><rotation>0 -1 0 1 0 0 0 0 1</rotation><translation>10 20 30</translation>"
        "<scale>2.5</scale></transform>"
    )
    found, _ = read_foreign(write_metashape(tmp_path, chunk=chunk), IMAGES)
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for name, pose in zip(NAMES, POSES, strict=True):
        np.testing.assert_allclose(centres(found[name].cam_from_world), 2.5 * turn @ centres(pose) + (10, 20, 30))
        np.testing.assert_allclose(found[name].cam_from_world[:, :3], pose[:, :3] @ turn.T, atol=1e-9)


@pytest.mark.parametrize("angle", [0.9])
def test_a_field_of_view_is_a_focal_length(angle, tmp_path):
    found, _ = read_foreign(write_transforms(tmp_path, {"camera_angle_x": angle, **WH, "frames": frames()}), IMAGES)
    camera = found["a.jpg"].camera
    assert camera is not None
    assert camera.model == "SIMPLE_PINHOLE"
    np.testing.assert_allclose(camera.params, (320 / np.tan(angle / 2), 320, 240))


def test_cameras_of_resized_pictures_are_scaled(tmp_path):
    images = replace(IMAGES, views=views(size=(1280, 960)))
    found, warnings = read_foreign(write_model(tmp_path / "m"), images)
    camera = found["a.jpg"].camera
    assert camera is not None
    assert camera.size == (1280, 960)
    np.testing.assert_allclose(camera.params[:4], np.array(SHIFTED.params[:4]) * 2)
    assert camera.params[4:] == SHIFTED.params[4:]
    assert not warnings


def test_sides_rounded_to_whole_patches_are_scaled_apart(tmp_path):
    images = replace(IMAGES, views=views(size=(1280, 942)))
    found, warnings = read_foreign(write_model(tmp_path / "m"), images)
    camera = found["a.jpg"].camera
    assert camera is not None
    np.testing.assert_allclose(camera.params[:2], (1000.0, 505.0 * 942 / 480))
    assert not warnings


def test_centred_crops_are_said(tmp_path):
    square_lens = KnownCamera(model="PINHOLE", size=(518, 518), params=(400.0, 400.0, 259.0, 259.0))
    found, (warning,) = read_foreign(write_model(tmp_path / "m", square_lens), IMAGES)
    camera = found["a.jpg"].camera
    assert camera is not None
    np.testing.assert_allclose(camera.params, (400 * 480 / 518, 400 * 480 / 518, 320, 240), atol=0.5)
    assert "centred crops" in warning


def bent(number: int, change: Callable[[np.ndarray], np.ndarray], folder: Path) -> Path:
    content = {**WH, **LENS, "frames": frames()}
    matrix = np.array(content["frames"][number]["transform_matrix"])
    content["frames"][number]["transform_matrix"] = change(matrix).tolist()
    return write_transforms(folder, content)


MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "mirrored": (lambda folder: bent(1, lambda pose: pose @ MIRROR, folder), "b.jpg .* mirrored"),
    "scaled": (lambda folder: bent(1, lambda pose: pose @ np.diag([2.0, 2, 2, 1]), folder), "no rotation"),
    "not finite": (lambda folder: bent(1, lambda pose: pose * np.nan, folder), "not finite"),
    "last row": (lambda folder: bent(0, lambda pose: pose + 1e-3 * np.eye(4)[[3, 3, 3, 2]], folder), "ends with"),
    "3 numbers": (lambda folder: bent(0, lambda pose: pose[:2], folder), "2 × 4 numbers"),
    "one place": (
        lambda folder: write_transforms(
            folder, {**WH, **LENS, "frames": [f | {"transform_matrix": np.eye(4).tolist()} for f in frames()]}
        ),
        "one place",
    ),
    "k4": (lambda folder: write_transforms(folder, {**WH, **LENS, "k4": 0.1, "frames": frames()}), "k4"),
    "thin prism": (lambda folder: write_transforms(folder, {**WH, **LENS, "s1": 0.1, "frames": frames()}), "s1"),
    "shutter": (
        lambda folder: write_transforms(folder, {**WH, **LENS, "rolling_shutter": [1], "frames": frames()}),
        "rolling shutter",
    ),
    "panorama": (
        lambda folder: write_transforms(folder, {"camera_model": "EQUIRECTANGULAR", **WH, "frames": frames()}),
        "EQUIRECTANGULAR",
    ),
    "no pose": (lambda folder: write_transforms(folder, {**WH, "frames": [{"file_path": "a.jpg"}]}), "Frame 0"),
    "negative focal": (
        lambda folder: write_transforms(folder, {**WH, **LENS, "fl_x": -5.0, "frames": frames()}),
        "parameters",
    ),
    "skew": (lambda folder: write_metashape(folder, "<b2>1.5</b2>"), "b2"),
    "no list": (lambda folder: (write_bundle(folder), (folder / "list.txt").unlink())[0], "list.txt"),
    "short list": (lambda folder: (write_bundle(folder), (folder / "list.txt").write_text("a.jpg\n"))[0], "names 1"),
    "broken bundle": (lambda folder: written(folder / "bundle.out", "# Bundle\nx y\n"), "Bundler"),
    "broken nvm": (lambda folder: written(folder / "m.nvm", "NVM_V2\n"), "NVM_V3"),
    "broken xml": (lambda folder: written(folder / "m.xml", "<document>"), "Metashape"),
    "empty folder": (lambda folder: folder, "no cameras that are read"),
    "other file": (lambda folder: written(folder / "cameras.csv", "1,2"), "no cameras that are read"),
    "missing": (lambda folder: folder / "nothing.json", "There is no"),
}


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_camera_is_refused(case, tmp_path):
    make, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        read_foreign(make(tmp_path), IMAGES)


def test_names_of_another_photo_set_are_refused(tmp_path):
    images = replace(IMAGES, views=views(("x.jpg", "y.jpg")))
    with pytest.raises(InputError, match="has no camera for any of the photographs"):
        read_foreign(write_model(tmp_path / "m"), images)


def test_what_only_one_side_has_is_counted(tmp_path):
    images = replace(IMAGES, views=views(("a.jpg", "b.jpg", "z.jpg")))
    found, warnings = read_foreign(write_model(tmp_path / "m"), images)
    assert sorted(found) == ["a.jpg", "b.jpg"]
    assert any("d.jpg, sub/c.jpg" in one for one in warnings)
    assert any("z.jpg" in one for one in warnings)


def test_two_cameras_are_needed(tmp_path):
    images = replace(IMAGES, views=views(("a.jpg", "z.jpg")))
    with pytest.raises(InputError, match="1 of 2"):
        read_foreign(write_model(tmp_path / "m"), images)


def test_cameras_of_turned_pictures_are_refused(tmp_path):
    images = replace(IMAGES, views=views(size=(480, 640), orientation=6))
    with pytest.raises(InputError, match="EXIF turns"):
        read_foreign(write_model(tmp_path / "m"), images)


def test_points_are_where_opengl_says(tmp_path):
    """A point in front of an OpenGL camera has negative z there and positive z here."""
    found, _ = read_foreign(write_transforms(tmp_path), IMAGES)
    ahead = (square(WORLD_FROM_CAM[0]) @ OPENGL) @ np.array([0.0, 0.0, -1.0, 1.0])
    assert apply(found["a.jpg"].cam_from_world, ahead[None, :3])[0, 2] == pytest.approx(1.0)
