"""Whether photographs are through a strong lens, and which."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.predictors.classical.sift import Keypoints
from dust3r_sfm.predictors.classical.strong_lens import find_strong_lenses, suspected
from dust3r_sfm.types import KnownCamera, View

SIZE = (800, 600)
NUM_VIEWS = 10
NOISE_RAW_PX = 0.4
CAMERAS = {
    "barrel": KnownCamera(model="OPENCV", size=SIZE, params=(480.0, 480.0, 400.0, 300.0, -0.28, 0.07, 0.0, 0.0)),
    "fisheye": KnownCamera(
        model="OPENCV_FISHEYE", size=SIZE, params=(380.0, 380.0, 400.0, 300.0, 0.02, -0.01, 0.0, 0.0)
    ),
    "phone": KnownCamera(model="OPENCV", size=SIZE, params=(620.0, 620.0, 400.0, 300.0, 0.09, -0.12, 0.0, 0.0)),
    "pinhole": KnownCamera(model="PINHOLE", size=SIZE, params=(620.0, 620.0, 400.0, 300.0)),
}


def view(name: str, focal_prior: float | None = None) -> View:
    shrink = np.diag([512 / 800, 512 / 800, 1.0])
    return View(
        name=name,
        path=Path(name),
        size=SIZE,
        orientation=1,
        network_size=(512, 384),
        network_from_image=shrink,
        focal_prior=focal_prior,
        camera_group=0,
    )


def keypoints_through(camera: KnownCamera, rng: np.random.Generator) -> list[Keypoints]:
    """What cameras on a curved way see of a cloud of points, each with a descriptor of its own."""
    points = rng.uniform((-4, -2, 3), (4, 2, 9), (900, 3))
    descriptors = rng.integers(0, 64, (900, 128)).astype(np.uint8)
    made = colmap_camera(camera)
    found = []
    for step in range(NUM_VIEWS):
        rotation = Rotation.from_euler("yx", [6 * (step - 5), 2 * (-1) ** step], degrees=True).as_matrix()
        seen = points @ rotation.T + rotation @ [-0.5 * step + 2.5, 0.2 * np.sin(step), 0.1 * step]
        front = np.flatnonzero((seen[:, 2] > 0.5) & (np.hypot(seen[:, 0], seen[:, 1]) < 2 * seen[:, 2]))
        xy = np.asarray(made.img_from_cam(seen[front])) + NOISE_RAW_PX * rng.standard_normal((len(front), 2))
        inside = ((xy > 0) & (xy < SIZE)).all(axis=1)
        found.append(Keypoints(xy=xy[inside] * 512 / 800, descriptors=descriptors[front[inside]]))
    return found


@pytest.mark.parametrize("name", ["barrel", "fisheye"])
def test_a_strong_lens_is_found_and_near(name: str) -> None:
    truth = CAMERAS[name]
    views = [view(f"{index}.jpg") for index in range(NUM_VIEWS)]
    found = find_strong_lenses(views, keypoints_through(truth, np.random.default_rng(0)), seed=0, num_workers=2)
    assert found.keys() == {one.name for one in views}
    radius = np.column_stack([np.linspace(20, 380, 10) + 400, np.full(10, 300.0)])
    lenses = [colmap_camera(truth), colmap_camera(found["0.jpg"])]
    expected, angle = (np.degrees(np.arctan(np.asarray(lens.cam_from_img(radius))[:, 0])) for lens in lenses)
    assert np.abs(angle - expected).max() < 4
    assert found["0.jpg"].model == ("OPENCV" if name == "barrel" else "OPENCV_FISHEYE")


@pytest.mark.parametrize("name", ["phone", "pinhole"])
def test_an_ordinary_lens_is_none(name: str) -> None:
    views = [view(f"{index}.jpg") for index in range(NUM_VIEWS)]
    keypoints = keypoints_through(CAMERAS[name], np.random.default_rng(0))
    assert find_strong_lenses(views, keypoints, seed=0, num_workers=2) == {}


def test_exif_and_numbers_decide_who_is_suspected() -> None:
    assert suspected([view(f"{index}.jpg") for index in range(6)])
    assert not suspected([view(f"{index}.jpg") for index in range(5)])
    assert not suspected([view(f"{index}.jpg", focal_prior=620.0) for index in range(6)])
    assert suspected([view(f"{index}.jpg", focal_prior=350.0) for index in range(6)])
