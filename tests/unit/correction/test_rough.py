"""Which photographs share a camera, what each starts from, and which are matched."""

from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.colmap.camera_models import cameras_of
from dust3r_sfm.correction.pairs import pairs_to_match
from dust3r_sfm.correction.rough import normalized, rough_model, share_cameras, with_strong_lens
from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import centres, rotation_exp
from dust3r_sfm.images.foreign.camera import ForeignCamera
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.images.resize import DEFAULT_GRID, network_grid
from dust3r_sfm.types import ImageSet, KnownCamera, Matches, View

SIZE = (640, 480)


def images(groups: list[int], focal: float | None = None) -> ImageSet:
    network_size, network_from_image = network_grid(SIZE, 1, DEFAULT_GRID)
    views = tuple(
        View(
            name=f"{index}.jpg",
            path=Path(f"{index}.jpg"),
            size=SIZE,
            orientation=1,
            network_size=network_size,
            network_from_image=network_from_image,
            focal_prior=focal,
            camera_group=group,
        )
        for index, group in enumerate(groups)
    )
    return ImageSet(root=Path(), views=views)


def pinhole(focal: float) -> KnownCamera:
    return KnownCamera(model="SIMPLE_PINHOLE", size=SIZE, params=(focal, 320.0, 240.0))


def cameras(lenses: list[KnownCamera | None]) -> dict[str, ForeignCamera]:
    rng = np.random.default_rng(0)
    rotation, place = rotation_exp(rng.normal(size=(len(lenses), 3))), rng.normal(size=(len(lenses), 3, 1))
    poses = np.concatenate([rotation, -rotation @ place], axis=2)
    return {f"{i}.jpg": ForeignCamera(cam_from_world=poses[i], camera=lens) for i, lens in enumerate(lenses)}


def groups_of(groups: list[int], lenses: list[KnownCamera | None]) -> list[int]:
    given = {name: camera for name, camera in cameras(lenses).items() if camera.camera is not None}
    return [view.camera_group for view in share_cameras(images(groups), given, "auto").views]


def test_what_networks_see_differently_in_each_picture_is_one_camera():
    assert groups_of([0, 0, 0], [pinhole(500.0), pinhole(507.0), pinhole(496.0)]) == [0, 0, 0]


def test_a_zoom_is_two_cameras():
    assert groups_of([0, 0, 0, 0], [pinhole(500.0), pinhole(505.0), pinhole(900.0), pinhole(910.0)]) == [0, 0, 1, 1]


def test_what_the_file_gives_one_camera_is_one():
    assert groups_of([0, 1, 2], [pinhole(500.0), pinhole(500.0), pinhole(700.0)]) == [0, 0, 1]


def test_the_choice_of_the_user_stands():
    given = cameras([pinhole(500.0)] * 3)
    shared = share_cameras(images([0, 1, 2]), given, "per-image")
    assert [view.camera_group for view in shared.views] == [0, 1, 2]


def test_a_shared_camera_starts_from_the_median():
    given = cameras([pinhole(500.0), pinhole(510.0), pinhole(499.0)])
    model = rough_model(images([0, 0, 0]), given)
    (camera,) = model.cameras.values()
    assert camera.mean_focal_length() == 500.0
    posed = cameras_of(model, 3)
    for index in range(3):
        np.testing.assert_allclose(posed.cam_from_world[index], given[f"{index}.jpg"].cam_from_world, atol=1e-12)


def test_without_a_lens_exif_says_where_to_start():
    (camera,) = rough_model(images([0, 0], focal=432.0), cameras([None, None])).cameras.values()
    assert camera.mean_focal_length() == 432.0


def test_photographs_that_the_file_lacks_are_not_in_the_model():
    given = cameras([pinhole(500.0)] * 3)
    del given["1.jpg"]
    assert cameras_of(rough_model(images([0, 0, 0]), given), 3).posed.tolist() == [True, False, True]


LENSES = {
    ("OPENCV", (500.0, 500.0, 320.0, 240.0, -0.28, 0.07, 0.0, 0.0)): "OPENCV",
    ("SIMPLE_RADIAL", (500.0, 320.0, 240.0, -0.28)): "OPENCV",
    ("RADIAL", (500.0, 320.0, 240.0, -0.28, 0.05)): "OPENCV",
    ("FULL_OPENCV", (500.0, 500.0, 320.0, 240.0, -0.28, 0.07, 0.0, 0.0, 0.01, 0.0, 0.0, 0.0)): "FULL_OPENCV",
    ("OPENCV_FISHEYE", (300.0, 300.0, 320.0, 240.0, 0.0, 0.0, 0.0, 0.0)): "OPENCV_FISHEYE",
    ("SIMPLE_RADIAL", (500.0, 320.0, 240.0, 0.01)): None,
    ("SIMPLE_PINHOLE", (500.0, 320.0, 240.0)): None,
}


@pytest.mark.parametrize("lens", LENSES, ids=str)
def test_a_lens_that_bends_much_is_kept_in_a_model_that_can_show_it(lens):
    given = KnownCamera(model=lens[0], size=SIZE, params=lens[1])
    model, name = with_strong_lens(rough_model(images([0, 0]), cameras([given] * 2)), Path("given.json"))
    assert name == LENSES[lens]
    (camera,) = model.cameras.values()
    assert camera.model.name == (name or lens[0])
    points = np.random.default_rng(1).uniform((-0.5, -0.4, 1.0), (0.5, 0.4, 1.0), (10, 3))
    np.testing.assert_allclose(camera.img_from_cam(points), colmap_camera(given).img_from_cam(points), atol=1e-9)


def test_a_perspective_lens_beside_a_strong_one_is_in_the_same_model():
    strong = KnownCamera(model="RADIAL", size=SIZE, params=(500.0, 320.0, 240.0, -0.28, 0.05))
    model, name = with_strong_lens(rough_model(images([0, 1]), cameras([strong, pinhole(800.0)])), Path("given.json"))
    assert name == "OPENCV"
    assert {camera.model.name for camera in model.cameras.values()} == {"OPENCV"}


def test_fisheye_and_perspective_lenses_are_not_mixed():
    fisheye = KnownCamera(model="OPENCV_FISHEYE", size=SIZE, params=(300.0, 300.0, 320.0, 240.0, 0.0, 0.0, 0.0, 0.0))
    rough = rough_model(images([0, 1]), cameras([fisheye, pinhole(500.0)]))
    with pytest.raises(InputError, match=r"given.json has lenses of OPENCV_FISHEYE and SIMPLE_PINHOLE"):
        with_strong_lens(rough, Path("given.json"))


def test_cameras_far_away_come_near_and_see_the_same():
    given = cameras([pinhole(500.0)] * 6)
    far = {
        name: ForeignCamera(
            cam_from_world=np.column_stack(
                [
                    one.cam_from_world[:, :3],
                    one.cam_from_world[:, :3] @ -(50.0 * centres(one.cam_from_world) + (4e6, 6e5, 5e6)),
                ]
            ),
            camera=one.camera,
        )
        for name, one in given.items()
    }
    near = cameras_of(normalized(rough_model(images([0] * 6), far)), 6).cam_from_world
    assert np.abs(centres(near)).max() < 10.0
    np.testing.assert_allclose(near[:, :, :3], [one.cam_from_world[:, :3] for one in given.values()], atol=1e-9)
    first, second = centres(near), np.array([centres(one.cam_from_world) for one in given.values()])
    apart = [np.linalg.norm(one[:, None] - one[None], axis=2) for one in (first, second)]
    np.testing.assert_allclose(apart[0] / apart[0].max(), apart[1] / apart[1].max(), atol=1e-7)


class Alike:
    """A matcher to which the first photograph is like the tenth, and nothing else like anything."""

    def __call__(self, image1: int, image2: int) -> Matches:
        raise AssertionError("pairs are chosen without matching")

    def likeness(self, image: int, others: list[int]) -> np.ndarray:
        return np.array([float({image, other} == {0, 10}) for other in others])


def walk(count: int) -> np.ndarray:
    """Cameras on a line, looking across it."""
    poses = np.tile(np.eye(3, 4), (count, 1, 1))
    poses[:, 0, 3] = -np.arange(count)
    return poses


def test_few_photographs_are_all_matched():
    assert len(pairs_to_match(walk(6), [0, 1, 2, 4, 5, 7], Alike())) == 15


def test_many_photographs_are_matched_where_they_are_near_or_alike():
    pairs = pairs_to_match(walk(40), list(range(40)), Alike())
    assert (0, 10) in pairs
    assert all((i, i + 1) in pairs for i in range(39))
    assert (12, 35) not in pairs
    assert len(pairs) < 40 * 39 / 4
    assert all(i < j for i, j in pairs)
