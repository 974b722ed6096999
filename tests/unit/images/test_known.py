"""What the user knows, from every kind of file, reaches the views exactly and in the right frame."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import compose, invert
from dust3r_sfm.images.known import known_digest, with_known
from dust3r_sfm.images.resize import Grid, network_grid
from dust3r_sfm.options import ImageOptions, KnownOptions
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import ImageSet, KnownCamera, View

SIZE = (1200, 800)
PARAMS = (1000.123456789, 1001.2, 610.5, 395.25)
RADIAL = (1000.1, 600.5, 400.25, -0.05, 0.01)
ORIENTATIONS = (1, 3, 6, 8)
NAMES = tuple(f"a/IMG_{index}.jpg" for index in range(4))
POINTS = np.random.default_rng(0).uniform([-2, -1.5, 4], [2, 1.5, 9], (50, 3))


def pose(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([Rotation.from_rotvec(0.2 * rng.standard_normal(3)).as_matrix(), rng.standard_normal(3)])


POSES = {name: pose(index) for index, name in enumerate(NAMES)}


@pytest.fixture
def images(tmp_path) -> ImageSet:
    """Four photographs of one size, each stored in another orientation."""
    views = []
    for name, orientation in zip(NAMES, ORIENTATIONS, strict=True):
        network_size, network_from_image = network_grid(SIZE, orientation, Grid(size=512, multiple_of=16))
        views.append(
            View(
                name=name,
                path=tmp_path / name,
                size=SIZE,
                orientation=orientation,
                network_size=network_size,
                network_from_image=network_from_image,
                focal_prior=None,
                camera_group=0,
            )
        )
    return ImageSet(root=tmp_path, views=tuple(views))


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model", dict.fromkeys(NAMES, ("PINHOLE", PARAMS)), POSES)


def write_model(folder: Path, cameras: dict, poses: dict, size=SIZE) -> Path:
    """A COLMAP model without points; equal cameras are one."""
    reconstruction = pycolmap.Reconstruction()
    ids: dict[tuple, int] = {}
    for image_id, (name, (kind, params)) in enumerate(cameras.items(), start=1):
        if (kind, params) not in ids:
            ids[kind, params] = len(ids) + 1
            camera = pycolmap.Camera(model=kind, width=size[0], height=size[1], params=params)
            camera.camera_id = ids[kind, params]
            reconstruction.add_camera_with_trivial_rig(camera)
        image = pycolmap.Image(name, np.zeros((0, 2)), ids[kind, params], image_id)
        reconstruction.add_image_with_trivial_frame(image, pycolmap.Rigid3d(poses[name]))
    folder.mkdir(parents=True)
    reconstruction.write_binary(str(folder))
    return folder


def known(images: ImageSet, intrinsics: object = None, poses: Path | None = None) -> ImageSet:
    return with_known(images, KnownOptions(intrinsics=None if intrinsics is None else str(intrinsics), poses=poses))


def assert_same_picture(view: View, camera: KnownCamera) -> None:
    """Raw rays through COLMAP's camera, and upright rays through the known matrix, hit the same network pixel."""
    made = pycolmap.Camera(model=camera.model, width=SIZE[0], height=SIZE[1], params=camera.params)
    matrix = made.calibration_matrix()
    raw = np.column_stack([POINTS[:, :2] / POINTS[:, 2:], np.ones(len(POINTS))])
    upright_from_raw = Rotation.from_euler("z", {1: 0, 3: 180, 6: 90, 8: -90}[view.orientation], degrees=True)
    expected = (view.network_from_image @ matrix @ raw.T).T
    np.testing.assert_allclose(upright_from_raw.apply(raw) @ view.known_intrinsics.T, expected, atol=1e-9)


@pytest.mark.parametrize(
    "kind", ["string", "blanks", "cameras.txt", "cameras.bin", "model", "out", "json", "transforms"]
)
def test_every_source_gives_the_same_exact_camera(images, model, tmp_path, kind):
    text = f"PINHOLE,1200,800,{','.join(map(repr, PARAMS))}"
    pycolmap.Reconstruction(str(model)).write_text(str(model))
    fx, fy, cx, cy = PARAMS
    camera = {"model": "PINHOLE", "width": 1200, "height": 800, "params": PARAMS}
    frames = [{"file_path": f"./images/{name}"} for name in NAMES]
    transforms = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": 1200, "h": 800, "frames": frames}
    (tmp_path / "poses.json").write_text(json.dumps({name: {"camera": camera} for name in NAMES}))
    (tmp_path / "transforms.json").write_text(json.dumps(transforms))
    (tmp_path / "out" / "sparse").mkdir(parents=True)
    source = {
        "string": text,
        "blanks": text.replace(",", " "),
        "cameras.txt": model / "cameras.txt",
        "cameras.bin": model / "cameras.bin",
        "model": model,
        "out": model.rename(tmp_path / "out" / "sparse" / "0").parents[1] if kind == "out" else None,
        "json": tmp_path / "poses.json",
        "transforms": tmp_path / "transforms.json",
    }[kind]
    result = known(images, source)
    assert not result.warnings
    assert {view.camera_group for view in result.views} == {0}
    for view in result.views:
        assert view.known_camera == KnownCamera(model="PINHOLE", size=SIZE, params=PARAMS)
        assert view.known_cam_from_world is None
        assert_same_picture(view, view.known_camera)


def test_a_matrix_is_in_the_pixels_of_the_files(images, tmp_path):
    (tmp_path / "K.txt").write_text("1000.5 0 600\n0 1000.5 400\n0 0 1\n")
    for view in known(images, tmp_path / "K.txt").views:
        assert view.known_camera.params == (1000.5, 1000.5, 600.0, 400.0)
        np.testing.assert_allclose(view.known_intrinsics[:2, 2], np.array(view.network_size) / 2, atol=8)


def test_a_small_distortion_keeps_its_pinhole(images, tmp_path):
    source = write_model(tmp_path / "radial", dict.fromkeys(NAMES, ("RADIAL", RADIAL)), POSES)
    for view in known(images, source).views:
        assert view.known_camera.params == RADIAL
        assert_same_picture(view, view.known_camera)


def test_some_cameras_known(images, tmp_path):
    source = write_model(
        tmp_path / "some",
        {NAMES[1]: ("PINHOLE", PARAMS), "other.jpg": ("PINHOLE", PARAMS)},
        POSES | {"other.jpg": pose(9)},
    )
    result = known(images, source)
    assert [view.known_camera is not None for view in result.views] == [False, True, False, False]
    groups = [view.camera_group for view in result.views]
    assert groups[0] == groups[2] == groups[3] != groups[1]
    assert len(result.warnings) == 2
    assert "other.jpg" in result.warnings[0] and NAMES[0] in result.warnings[1]


def opengl(world_from_cam: np.ndarray) -> list:
    matrix = np.eye(4)
    matrix[:3] = world_from_cam
    return (matrix @ np.diag([1.0, -1, -1, 1])).tolist()


@pytest.mark.parametrize("kind", ["model", "json", "transforms", "7-Scenes"])
def test_every_source_gives_the_same_pose(images, model, tmp_path, kind):
    frames = [
        {"file_path": name.removesuffix(".jpg"), "transform_matrix": opengl(invert(POSES[name]))} for name in NAMES
    ]
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
    entries = {
        name: {
            "qvec_cam_from_world": Rotation.from_matrix(POSES[name][:, :3]).as_quat(scalar_first=True).tolist(),
            "tvec": POSES[name][:, 3].tolist(),
        }
        for name in NAMES
    }
    (tmp_path / "poses.json").write_text(json.dumps(entries))
    (tmp_path / "scenes" / "a").mkdir(parents=True)
    for name in NAMES:
        np.savetxt(
            tmp_path / "scenes" / name.replace(".jpg", ".pose.txt"),
            np.vstack([invert(POSES[name]), [0, 0, 0, 1]]),
            fmt="%.10e",
        )
    source = {
        "model": model,
        "json": tmp_path / "poses.json",
        "transforms": tmp_path / "transforms.json",
        "7-Scenes": tmp_path / "scenes",
    }[kind]
    result = known(images, poses=source)
    assert not result.warnings
    upright = known(images, "PINHOLE,1200,800,1000,1000,600,400").views
    for view, with_camera in zip(result.views, upright, strict=True):
        assert view.known_camera is None
        rotation = view.known_cam_from_world[:, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        # A world point falls on the same network pixel through the raw and through the upright camera.
        world = POINTS @ POSES[view.name][:, :3] - POSES[view.name][:, 3] @ POSES[view.name][:, :3]
        raw = POINTS @ np.array([[1000, 0, 600], [0, 1000, 400], [0, 0, 1.0]]).T @ view.network_from_image.T
        seen = (world @ rotation.T + view.known_cam_from_world[:, 3]) @ with_camera.known_intrinsics.T
        np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], raw[:, :2] / raw[:, 2:], atol=1e-6)


def test_lost_frames_have_no_pose(images, tmp_path):
    for name in NAMES:
        matrix = np.full((4, 4), np.inf) if name == NAMES[2] else np.vstack([invert(POSES[name]), [0, 0, 0, 1]])
        np.savetxt(tmp_path / Path(name).name.replace(".jpg", ".pose.txt"), matrix)
    result = known(images, poses=tmp_path)
    assert [view.known_cam_from_world is None for view in result.views] == [False, False, True, False]
    assert NAMES[2] in result.warnings[0]


def test_relative_poses_do_not_depend_on_the_orientation_tag(images, model):
    """Upright frames differ from raw ones by the turn alone."""
    views = known(images, poses=model).views
    turned = compose(views[0].known_cam_from_world, invert(views[2].known_cam_from_world))
    raw = compose(POSES[NAMES[0]], invert(POSES[NAMES[2]]))
    np.testing.assert_allclose(np.linalg.norm(turned[:, 3]), np.linalg.norm(raw[:, 3]), rtol=1e-12)


def test_nothing_known_changes_nothing(images, model):
    assert with_known(images, KnownOptions()) is images
    assert known_digest(images) == {}
    digest = known_digest(known(images, model))
    assert digest["known"] and digest == known_digest(known(images, model)) != known_digest(known(images, model, model))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("PINHOLE,1600,800,1000,1000,600,400", "1600 × 800 pixels but the file has 1200 × 800"),
        ("PINHOLE,1200,800,1000,1000,600", "does not read PINHOLE,width,height,fx,fy,cx,cy"),
        ("PINHOLE,1200,eight,1000,1000,600,4", "does not read"),
        ("PINHOLE,1200,800,-5,1000,600,400", "a camera can have"),
        ("PINHOLE,1200,800,nan,1000,600,400", "a camera can have"),
        ("PINHOL,1200,800,1000,1000,600,400", "no camera either"),
        ("nowhere", "There is no file nowhere"),
        ("OPENCV_FISHEYE,1200,800,500,500,600,400,0,0,0,0", "colmap image_undistorter"),
        ("SIMPLE_RADIAL,1200,800,700,600,400,-0.4", "undistort the photographs first"),
    ],
)
def test_cameras_that_cannot_be_used(images, text, words):
    with pytest.raises(InputError, match=words):
        known(images, text)


def test_sizes_that_differ_need_more_than_a_matrix(images, tmp_path):
    (tmp_path / "K.txt").write_text("1000 0 600\n0 1000 400\n0 0 1\n")
    mixed = replace(images, views=(images.views[0], replace(images.views[1], size=(800, 600))))
    with pytest.raises(InputError, match="sizes differ"):
        known(mixed, tmp_path / "K.txt")
    (tmp_path / "K.txt").write_text("1000 3 600\n0 1000 400\n0 0 1\n")
    with pytest.raises(InputError, match="skew"):
        known(images, tmp_path / "K.txt")
    (tmp_path / "K.txt").write_text("hello\n")
    with pytest.raises(InputError, match=r"K\.txt"):
        known(images, tmp_path / "K.txt")


@pytest.mark.parametrize("name", ["/etc/passwd.jpg", "../IMG_0.jpg", "C:\\IMG_0.jpg", "a/../../IMG_0.jpg"])
def test_names_that_lead_out_are_refused(images, tmp_path, name):
    frames = [{"file_path": name, "transform_matrix": np.eye(4).tolist()}]
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
    with pytest.raises(InputError, match="leads out"):
        known(images, poses=tmp_path / "transforms.json")


def test_names_that_fit_nothing_or_too_much(images, tmp_path):
    def write(*names):
        frames = [{"file_path": name, "transform_matrix": np.eye(4).tolist()} for name in names]
        (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
        return tmp_path / "transforms.json"

    with pytest.raises(InputError, match="no pose for any of the photographs"):
        known(images, poses=write("b/IMG_9.jpg"))
    with pytest.raises(InputError, match="both fit"):
        known(images, poses=write("x/a/IMG_0.jpg", "y/a/IMG_0.jpg"))
    with pytest.raises(InputError, match="no pose for any"):
        known(images, poses=write("b/IMG_0.jpg"))  # another folder


def test_what_is_no_pose_is_refused(images, tmp_path):
    mirrored = {"file_path": NAMES[0], "transform_matrix": np.diag([1.0, 1, -1, 1]).tolist()}
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": [mirrored]}))
    with pytest.raises(InputError, match="mirrored"):
        known(images, poses=tmp_path / "transforms.json")
    for content in ('{"frames": [{}]}', "[]", "{", '{"a.jpg": {"tvec": [0, 0]}}'):
        (tmp_path / "transforms.json").write_text(content)
        with pytest.raises(InputError, match=r"transforms\.json"):
            known(images, poses=tmp_path / "transforms.json")
    with pytest.raises(InputError, match="holds no poses"):
        known(images, poses=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither a COLMAP model nor"):
        known(images, poses=tmp_path / "empty")


@pytest.mark.data
def test_real_cameras(data_root):
    from dust3r_sfm.images.read import read_images

    for name, shared in (("sacre_coeur", False), ("strecha_fountain_p11", True), ("fox_a", True)):
        folder = data_root / name
        images = known(read_images(folder / "images", ImageOptions()), folder / "poses.json", folder / "poses.json")
        truth = json.loads((folder / "poses.json").read_text())
        for view in images.views:
            assert list(view.known_camera.params) == truth[view.name]["camera"]["params"]
            np.testing.assert_allclose(view.known_cam_from_world[:, 3], truth[view.name]["tvec"], rtol=1e-12)
        assert len({view.camera_group for view in images.views}) == (1 if shared else len(images))
    castle = data_root / "sceaux_castle"
    matrix = known(read_images(castle / "images", ImageOptions()), castle / "K.txt").views[0].known_camera
    assert matrix.size == (1593, 1197) and matrix.params[2:] == (796.5, 598.5)
