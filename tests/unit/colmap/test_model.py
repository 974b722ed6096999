"""The model is in raw pixels: projecting a point with COLMAP's own camera hits the raw position of its observation."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dust3r_sfm.colmap.model import read_model, reconstruction_from_scene, write_model
from dust3r_sfm.errors import InputError, ReconstructionError
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.system.names import refuse_unsafe_name
from dust3r_sfm.types import Matches, Tracks

FIVE_FILES = {"cameras.bin", "images.bin", "points3D.bin", "rigs.bin", "frames.bin"}


@pytest.fixture(scope="module")
def model(room: Any, room_tracks: Tracks) -> Any:
    return reconstruction_from_scene(room.scene, room_tracks)


def test_poses_are_those_of_the_raw_frames(room: Any, model: Any) -> None:
    assert sorted(model.images) == [1, 2, 3, 4, 5, 6]
    for image_id, image in model.images.items():
        assert image.name == room.scene.names[image_id - 1]
        assert np.abs(image.cam_from_world().matrix() - room.raw_cam_from_world[image_id - 1]).max() < 1e-12


def test_cameras_have_the_raw_size_and_focal_length(room: Any, model: Any) -> None:
    for image_id, image in model.images.items():
        width, height = room.views[image_id - 1].size
        assert (image.camera.width, image.camera.height) == (width, height)
        assert image.camera.model_name == "SIMPLE_PINHOLE"
        assert image.camera.params == pytest.approx([room.raw_focals[image_id - 1], width / 2, height / 2], abs=1e-9)


def test_every_observation_reprojects_in_raw_pixels(model: Any) -> None:
    for image in model.images.values():
        for point in image.points2D[::20]:
            projected = image.project_point(model.points3D[point.point3D_id].xyz)
            assert np.linalg.norm(projected - point.xy) < 1.0
    assert model.compute_mean_reprojection_error() < 0.02
    assert all(0 <= point.error < 1.0 for point in model.points3D.values())


def test_images_of_one_group_and_raw_size_share_a_camera_whatever_their_orientation(model: Any) -> None:
    assert {image_id: image.camera_id for image_id, image in model.images.items()} == {
        1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 1,
    }  # fmt: skip


def test_a_group_whose_focal_lengths_differ_does_not_share_a_camera(room: Any, room_tracks: Tracks) -> None:
    intrinsics = room.scene.intrinsics.copy()
    intrinsics[1, [0, 1], [0, 1]] *= 1.01
    model = reconstruction_from_scene(replace(room.scene, intrinsics=intrinsics), room_tracks)
    assert model.images[2].camera_id != model.images[1].camera_id
    assert model.images[3].camera_id == model.images[1].camera_id
    assert model.images[2].camera.mean_focal_length() == pytest.approx(1.01 * room.raw_focals[1])


def test_one_focal_length_on_the_network_grid_stays_one_in_raw_pixels(make_room: Callable[..., Any]) -> None:
    # 641×480 becomes 192×144: the axes' scales differ by 0.16 %.
    room = make_room([((641, 480), 1), ((641, 480), 6)])
    focal = float(room.scene.intrinsics[0, [0, 1], [0, 1]].mean())
    intrinsics = room.scene.intrinsics.copy()
    intrinsics[:, [0, 1], [0, 1]] = focal
    model = reconstruction_from_scene(replace(room.scene, intrinsics=intrinsics), room.tracks())
    assert [camera.model_name for camera in model.cameras.values()] == ["SIMPLE_PINHOLE"]
    assert model.cameras[1].mean_focal_length() == pytest.approx(room.raw_focals[0], rel=1e-5)


def test_focal_lengths_that_differ_for_real_stay_apart(room: Any, room_tracks: Tracks) -> None:
    intrinsics = room.scene.intrinsics.copy()
    intrinsics[0, 1, 1] *= 1.01
    model = reconstruction_from_scene(replace(room.scene, intrinsics=intrinsics), room_tracks)
    camera = model.images[1].camera
    assert camera.model_name == "PINHOLE"
    assert camera.focal_length_y / camera.focal_length_x == pytest.approx(1.01)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_cropped_network_grid_loses_nothing(make_room: Callable[..., Any], orientation: int) -> None:
    room = make_room([((640, 470), orientation)] * 3, grid=Grid(size=192, multiple_of=16))
    model = reconstruction_from_scene(room.scene, room.tracks())
    assert model.compute_mean_reprojection_error() < 0.05
    assert model.cameras[1].params == pytest.approx([576.0, 320.0, 235.0], abs=1e-9)


def test_keypoints_of_matches_are_listed_without_a_point(room: Any, room_matches: list[Matches], model: Any) -> None:
    some = room.tracks(room_matches[:3])
    fuller = reconstruction_from_scene(room.scene, some, room_matches)
    assert fuller.num_points3D() == len(some.xyz)
    everything = np.unique(np.concatenate([pair.xy1 for pair in room_matches if pair.image1 == 0]), axis=0)
    assert np.array_equal([point.xy for point in fuller.images[1].points2D], everything)
    assert fuller.images[1].num_points3D < len(everything)
    assert model.images[1].num_points3D == model.images[1].num_points2D()


def test_unregistered_images_are_not_in_the_model(room: Any, room_matches: list[Matches]) -> None:
    absent = replace(room, scene=replace(room.scene, registered=np.array([1, 1, 0, 1, 1, 1], bool)))
    model = reconstruction_from_scene(absent.scene, absent.tracks(room_matches), room_matches)
    assert sorted(model.images) == [1, 2, 4, 5, 6]


def test_no_registered_image_is_an_error(room: Any, room_tracks: Tracks) -> None:
    with pytest.raises(ReconstructionError, match="overlap"):
        reconstruction_from_scene(replace(room.scene, registered=np.zeros(6, bool)), room_tracks)


def test_written_files_come_back_equal(model: Any, tmp_path: Path) -> None:
    write_model(model, tmp_path / "sparse" / "0")
    assert {path.name for path in (tmp_path / "sparse" / "0").iterdir()} == FIVE_FILES
    for folder in (tmp_path / "sparse" / "0", tmp_path / "sparse", tmp_path):
        again = read_model(folder)
        assert again.num_points3D() == model.num_points3D()
        assert again.images[2].name == model.images[2].name
        assert np.array_equal(again.images[2].cam_from_world().matrix(), model.images[2].cam_from_world().matrix())
        assert again.points3D[1].error == model.points3D[1].error


def test_nothing_of_an_earlier_run_stays(model: Any, tmp_path: Path) -> None:
    folder = tmp_path / "sparse" / "0"
    folder.mkdir(parents=True)
    for stale in ("points3D.ply", "images.txt", "frames.txt"):
        (folder / stale).write_text("stale")
    write_model(model, folder)
    assert {path.name for path in folder.iterdir()} == FIVE_FILES
    assert [path.name for path in folder.parent.iterdir()] == ["0"]


def test_names_survive_exactly(make_room: Callable[..., Any], tmp_path: Path) -> None:
    names = ["a b/ünï côde.JPG", "a b/c.d.png", "z,1.jpg"]
    room = make_room([((640, 480), 1)] * 3, names=names)
    write_model(reconstruction_from_scene(room.scene, room.tracks()), tmp_path / "0")
    assert [image.name for _, image in sorted(read_model(tmp_path / "0").images.items())] == names


def test_text_is_refused_for_names_with_blanks(make_room: Callable[..., Any], model: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="blank"):
        write_model(model, tmp_path / "0", text=True)
    assert not (tmp_path / "0").exists()
    room = make_room([((640, 480), 1)] * 2, names=["a.jpg", "b.jpg"])
    write_model(reconstruction_from_scene(room.scene, room.tracks()), tmp_path / "0", text=True)
    assert {path.suffix for path in (tmp_path / "0").iterdir()} == {".bin", ".txt"}
    assert len(list((tmp_path / "0").iterdir())) == 10


def test_models_that_cannot_be_read_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no COLMAP model"):
        read_model(tmp_path)
    for name in FIVE_FILES:
        (tmp_path / name).write_bytes(b"\1\0\0\0\0\0\0\0")
    with pytest.raises(InputError, match="cannot be read"):
        read_model(tmp_path)


@pytest.mark.parametrize("name", ["/etc/a.jpg", "../a.jpg", "a/../../b.jpg", "a\\..\\b.jpg", "C:\\a.jpg", ""])
def test_names_that_lead_out_of_the_image_folder_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="leads out"):
        refuse_unsafe_name(name, Path("model"))


def test_foreign_names_are_checked_on_reading(model: Any, tmp_path: Path) -> None:
    foreign = pycolmap.Reconstruction(model)
    foreign.images[1].name = "../outside.jpg"
    write_model(foreign, tmp_path / "0")
    with pytest.raises(InputError, match="outside"):
        read_model(tmp_path / "0")
