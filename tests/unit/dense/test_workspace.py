"""The dense workspace holds what COLMAP's stereo and the splatting loaders ask for."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.colmap.model import reconstruction_from_scene
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.images.masks import with_masks
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import Tracks


@pytest.fixture
def model(room: Any, room_tracks: Tracks) -> Any:
    return reconstruction_from_scene(room.scene, room_tracks)


def test_layout(model: Any, photos: Path, tmp_path: Path) -> None:
    dense = write_workspace(tmp_path / "out", model, photos)
    assert dense == tmp_path / "out" / "dense"
    five = {"cameras.bin", "images.bin", "points3D.bin", "rigs.bin", "frames.bin"}
    assert {path.name for path in (dense / "sparse").iterdir()} == five | {"0"}
    for name in five:
        assert (dense / "sparse" / name).read_bytes() == (dense / "sparse" / "0" / name).read_bytes()
    names = sorted(image.name for image in model.images.values())
    assert sorted(path.name for path in (dense / "images").iterdir()) == names
    config = (dense / "stereo" / "patch-match.cfg").read_text().splitlines()
    assert sorted(config[::2]) == names
    assert set(config[1::2]) == {"__auto__, 20"}
    assert sorted((dense / "stereo" / "fusion.cfg").read_text().splitlines()) == names
    for kind in ("depth_maps", "normal_maps", "consistency_graphs"):
        assert list((dense / "stereo" / kind).rglob("*.bin")) == []
    assert sorted(path.name for path in dense.iterdir() if path.is_dir()) == ["images", "sparse", "stereo"]
    assert [path.name for path in dense.parent.iterdir()] == ["dense"]


def test_cameras_are_centred_pinholes_of_the_images_sizes(model: Any, photos: Path, tmp_path: Path) -> None:
    dense = write_workspace(tmp_path, model, photos)
    again = pycolmap.Reconstruction(str(dense / "sparse"))
    for image in again.images.values():
        width, height = Image.open(dense / "images" / image.name).size
        assert image.camera.model_name == "PINHOLE"
        assert (image.camera.width, image.camera.height) == (width, height)
        assert image.camera.params[2:].tolist() == [width / 2, height / 2]
        assert (
            np.abs(image.cam_from_world().matrix() - model.images[image.image_id].cam_from_world().matrix()).max() == 0
        )
    assert again.compute_mean_reprojection_error() == pytest.approx(model.compute_mean_reprojection_error(), rel=1e-6)


def test_pixels_are_copied_and_orientation_tags_reset(room: Any, model: Any, photos: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    dense = write_workspace(tmp_path, model, photos)
    for view in room.views:
        with Image.open(dense / "images" / view.name) as written, Image.open(photos / view.name) as original:
            assert written.getexif().get(0x0112) == 1
            assert original.getexif().get(0x0112) == view.orientation
            assert np.array_equal(np.asarray(written), np.asarray(original))
    assert {path.name: path.read_bytes() for path in photos.iterdir()} == before


def test_nested_names_have_their_sub_folders(make_room: Callable[..., Any], tmp_path: Path) -> None:
    names = ["left cam/a.jpg", "left cam/day 1/b.jpg", "ünï.jpg"]
    room = make_room([((640, 480), 1)] * 3, names=names)
    save_photographs(room, tmp_path / "photos")
    dense = write_workspace(tmp_path, reconstruction_from_scene(room.scene, room.tracks()), tmp_path / "photos")
    assert all((dense / "images" / name).is_file() for name in names)
    for kind in ("depth_maps", "normal_maps", "consistency_graphs"):
        assert (dense / "stereo" / kind / "left cam" / "day 1").is_dir()


def save_photographs(room: Any, root: Path) -> None:
    for view in room.views:
        (root / view.name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", view.size, (90, 120, 30)).save(root / view.name)


@pytest.mark.parametrize("offset", [(12.3, -7.6), (-4.0, 0.1), (0.2, 0.0)])
def test_a_principal_point_elsewhere_is_centred_by_a_crop(
    make_room: Callable[..., Any], tmp_path: Path, offset: tuple[float, float]
) -> None:
    room = make_room([((640, 480), 1)] * 3)
    save_photographs(room, tmp_path / "photos")
    # A mark at the principal point must be in the centre afterwards.
    centre = np.array([320.0, 240.0]) + offset
    pixels = np.zeros((480, 640, 3), np.uint8)
    column, row = centre.astype(int)
    pixels[row - 2 : row + 3, column - 2 : column + 3] = 255
    Image.fromarray(pixels).save(tmp_path / "photos" / room.views[0].name)
    shift = np.eye(3)
    shift[:2, 2] = offset
    moved = [replace(pair, xy1=pair.xy1 + offset, xy2=pair.xy2 + offset) for pair in room.matches()]
    views = [replace(view, network_from_image=view.network_from_image @ np.linalg.inv(shift)) for view in room.views]
    scene = replace(room.scene, views=tuple(views))
    model = reconstruction_from_scene(scene, replace(room, scene=scene).tracks(moved))
    assert model.cameras[1].params[1:] == pytest.approx(centre)

    dense = write_workspace(tmp_path, model, tmp_path / "photos")
    again = pycolmap.Reconstruction(str(dense / "sparse" / "0"))
    camera = again.cameras[1]
    assert [camera.width, camera.height] == np.floor(np.array([640, 480]) - 2 * np.abs(offset)).tolist()
    assert camera.params[2:].tolist() == [camera.width / 2, camera.height / 2]
    assert again.compute_mean_reprojection_error() == pytest.approx(model.compute_mean_reprojection_error(), rel=0.05)
    with Image.open(dense / "images" / room.views[0].name) as written:
        assert written.size == (camera.width, camera.height)
        grey = np.asarray(written.convert("L")).astype(float)
    rows, columns = np.nonzero(grey > 20)
    mark = np.average(np.column_stack([columns, rows]) + 0.5, axis=0, weights=grey[rows, columns])
    assert mark - camera.params[2:] == pytest.approx(np.floor(centre) + 0.5 - centre, abs=0.06)
    for image in again.images.values():
        seen = np.array([point.xy for point in image.points2D if point.has_point3D()])
        assert np.all((seen >= 0) & (seen <= [image.camera.width, image.camera.height]))


def test_a_distorted_camera_is_undistorted_in_one_resampling(make_room: Callable[..., Any], tmp_path: Path) -> None:
    room = make_room([((640, 480), 1)] * 3)
    save_photographs(room, tmp_path / "photos")
    model = reconstruction_from_scene(room.scene, room.tracks())
    lens = pycolmap.Camera(
        camera_id=1, model="OPENCV", width=640, height=480, params=[575, 577, 325.5, 236, -0.08, 0.02, 0.001, -0.001]
    )
    for image in model.images.values():
        cam_from_world = image.cam_from_world().matrix()
        for point in image.points2D:
            if point.has_point3D():
                xyz = model.points3D[point.point3D_id].xyz
                point.xy = lens.img_from_cam(cam_from_world[:, :3] @ xyz + cam_from_world[:, 3])
    model.cameras[1].model, model.cameras[1].params = lens.model, lens.params
    # A small disc at a known point of the world must be where the new camera projects it.
    first = model.images[1]
    point = next(point for point in first.points2D if point.has_point3D() and np.abs(point.xy - [200, 150]).max() < 60)
    grid = np.stack(np.meshgrid(np.arange(640), np.arange(480)), axis=-1) + 0.5
    disc = 255 * np.exp(-(np.linalg.norm(grid - point.xy, axis=-1) ** 2) / 18)
    Image.fromarray(disc.astype(np.uint8)).convert("RGB").save(tmp_path / "photos" / first.name, quality=95)

    dense = write_workspace(tmp_path, model, tmp_path / "photos")
    again = pycolmap.Reconstruction(str(dense / "sparse"))
    camera = again.cameras[1]
    assert camera.model_name == "PINHOLE"
    assert camera.params[2:].tolist() == [camera.width / 2, camera.height / 2]
    assert again.compute_mean_reprojection_error() < 1e-3
    with Image.open(dense / "images" / first.name) as written:
        assert written.size == (camera.width, camera.height)
        grey = np.asarray(written.convert("L")).astype(float)
    moved = again.images[1].points2D[[p.xy.tolist() for p in first.points2D].index(point.xy.tolist())].xy
    rows, columns = np.nonzero(grey > 20)
    assert np.average(np.column_stack([columns, rows]) + 0.5, axis=0, weights=grey[rows, columns]) == pytest.approx(
        moved, abs=0.1
    )


def test_masks_go_with_their_pictures(make_room: Callable[..., Any], tmp_path: Path) -> None:
    room = make_room([((640, 480), 1)] * 2, names=["a/one.jpg", "two.jpg"])
    save_photographs(room, tmp_path / "photos")
    mask = np.zeros((480, 640), np.uint8)
    mask[:, 320:] = 255
    (tmp_path / "masks" / "a").mkdir(parents=True)
    Image.fromarray(mask).save(tmp_path / "masks" / "a" / "one.jpg.png")
    model = reconstruction_from_scene(room.scene, room.tracks())
    views = with_masks(room.scene, tmp_path / "masks").views
    dense = write_workspace(tmp_path, model, tmp_path / "photos", views)
    for name in ("one.jpg.png", "one.png"):  # COLMAP's name and nerfstudio's
        assert np.array_equal(np.asarray(Image.open(dense / "masks" / "a" / name)), mask)
    assert not (dense / "masks" / "two.jpg.png").exists()


def test_an_old_workspace_is_replaced_but_not_hours_of_stereo(model: Any, photos: Path, tmp_path: Path) -> None:
    write_workspace(tmp_path, model, photos)
    (tmp_path / "dense" / "images" / "old.jpg").touch()
    write_workspace(tmp_path, model, photos)
    assert not (tmp_path / "dense" / "images" / "old.jpg").exists()
    computed = tmp_path / "dense" / "stereo" / "depth_maps" / "image 0.jpg.geometric.bin"
    computed.write_bytes(b"hours")
    with pytest.raises(OutputError, match="holds depth maps that would be lost"):
        write_workspace(tmp_path, model, photos)
    assert computed.exists()
    write_workspace(tmp_path, model, photos, overwrite=True)
    assert not computed.exists()


def test_a_dense_folder_from_elsewhere_is_left_alone(model: Any, photos: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "dense" / "notes.txt"
    foreign.parent.mkdir()
    foreign.write_text("mine")
    with pytest.raises(OutputError, match="holds other files"):
        write_workspace(tmp_path, model, photos)
    assert foreign.read_text() == "mine"


def test_a_principal_point_at_the_border_is_refused(model: Any, photos: Path, tmp_path: Path) -> None:
    camera = model.cameras[1]
    camera.params = [*camera.params[:-2], 30.0, 240.0]
    with pytest.raises(InputError, match=r"principal point \(30\.0, 240\.0\) of a 640×480 camera"):
        write_workspace(tmp_path, model, photos)


def test_a_missing_or_exchanged_photograph_is_named(model: Any, photos: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(photos / "image 3.jpg")
    with pytest.raises(InputError, match=r"image 3\.jpg has 64×48 pixels but its camera has 640×480"):
        write_workspace(tmp_path, model, photos)
    (photos / "image 3.jpg").unlink()
    with pytest.raises(InputError, match=r"image 3\.jpg cannot be read"):
        write_workspace(tmp_path, model, photos)
    assert not (tmp_path / "dense").exists()


def test_inks_and_palettes_are_copied_as_colours(model: Any, photos: Path, tmp_path: Path) -> None:
    root = tmp_path / "inks"
    shutil.copytree(photos, root)
    name = sorted(image.name for image in model.images.values())[0]
    with Image.open(root / name) as picture:
        inks = picture.convert("CMYK")
    inks.save(root / name, "JPEG", quality=95)
    dense = write_workspace(tmp_path, model, root)

    with Image.open(dense / "images" / name) as copied:
        assert copied.mode == "RGB"
        difference = np.asarray(copied).astype(int) - np.asarray(inks.convert("RGB"))
    assert np.abs(difference).mean() < 3
