"""A scene brought into the world of what is measured: GPS positions in EXIF, surveyed points, one distance, gravity."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from scipy.spatial.transform import Rotation

from dust3r_sfm.alignment.frame.metric import in_world, part_in_world, transform_scene
from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import apply, centres, invert
from dust3r_sfm.images.priors.read import with_priors
from dust3r_sfm.options import KnownOptions
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import ImageSet, Scene, View

COUNT = 8
ORIGIN = (48.137, 11.575, 519.0)


@pytest.fixture
def positions() -> np.ndarray:
    """True camera centres in metres east, north and up."""
    return np.random.default_rng(0).uniform([-60, -40, 0], [60, 40, 10], (COUNT, 3))


@pytest.fixture
def scene(tmp_path, positions) -> Scene:
    """The true cameras seen from a frame and in a unit of their own."""
    rng = np.random.default_rng(1)
    rotations = Rotation.random(COUNT, random_state=2).as_matrix()
    cam_from_world = np.concatenate([rotations, -rotations @ positions[:, :, None]], axis=2)
    metric = Scene(
        image_root=tmp_path,
        views=tuple(
            View(
                name=f"{index}.jpg",
                path=tmp_path / f"{index}.jpg",
                size=(64, 64),
                orientation=1,
                network_size=(8, 8),
                network_from_image=np.diag([0.125, 0.125, 1]),
                focal_prior=None,
                camera_group=0,
            )
            for index in range(COUNT)
        ),
        intrinsics=np.tile(np.eye(3), (COUNT, 1, 1)),
        cam_from_world=cam_from_world,
        registered=np.ones(COUNT, bool),
        depths=tuple(rng.uniform(5, 20, (8, 8)).astype(np.float32) for _ in range(COUNT)),
        confidences=tuple(np.full((8, 8), 2, np.float32) for _ in range(COUNT)),
        edges=np.array([[0, 1]]),
        world_from_edge=np.eye(4)[None],
        edge_weights=np.ones(1),
        edge_residuals=np.zeros(1),
        covariances=np.tile(np.eye(6), (COUNT, 1, 1)),
    )
    own = np.eye(4)
    own[:3, :3], own[:3, 3] = 0.013 * Rotation.from_rotvec([0.3, -1, 0.5]).as_matrix(), [1, 2, -3]
    return transform_scene(metric, own)


def placed(scene: Scene, options: KnownOptions) -> Scene:
    """The scene in the world of what its photographs and the options say."""
    for view in scene.views:
        if not view.path.exists():
            Image.new("RGB", (64, 64)).save(view.path)
    images = with_priors(ImageSet(root=scene.image_root, views=scene.views), options)
    return in_world(scene, options, images.priors)


def write_photographs(root: Path, positions: np.ndarray, has_height: bool = True) -> None:
    transform = pycolmap.GPSTransform()
    for index, (latitude, longitude, altitude) in enumerate(transform.enu_to_ellipsoid(positions, *ORIGIN)):
        exif = Image.Exif()
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
        gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLatitude] = "N", sexagesimal(latitude)
        gps[ExifTags.GPS.GPSLongitudeRef], gps[ExifTags.GPS.GPSLongitude] = "E", sexagesimal(longitude)
        if has_height:
            gps[ExifTags.GPS.GPSAltitudeRef], gps[ExifTags.GPS.GPSAltitude] = (
                b"\0",
                Fraction(round(altitude * 1000), 1000),
            )
        Image.new("RGB", (64, 64)).save(root / f"{index}.jpg", exif=exif)


def sexagesimal(degrees: float) -> tuple[Fraction, Fraction, Fraction]:
    minutes = (degrees % 1) * 60
    return Fraction(int(degrees)), Fraction(int(minutes)), Fraction(round(minutes % 1 * 60 * 10**6), 10**6)


def test_gps_gives_metres_east_north_up(scene, positions):
    write_photographs(scene.image_root, positions)
    found = placed(scene, KnownOptions(georegister=True))
    moved = centres(found.cam_from_world)
    np.testing.assert_allclose(moved - moved[0], positions - positions[0], atol=0.02)
    assert found.priors is not None and found.priors.upright and found.priors.origin is not None
    np.testing.assert_allclose(found.priors.origin[:2], ORIGIN[:2], atol=1e-3)


def test_a_wrong_position_does_not_move_the_others(scene, positions):
    wrong = positions.copy()
    wrong[3] += [300, -200, 50]
    write_photographs(scene.image_root, wrong)
    moved = centres(placed(scene, KnownOptions(georegister=True)).cam_from_world)
    np.testing.assert_allclose(moved - moved[0], positions - positions[0], atol=0.02)


def test_depths_and_edges_follow(scene):
    """A pixel's world point moves with the cameras."""
    found = placed(scene, KnownOptions(scale_distance=("0.jpg", "1.jpg", 7.5)))
    moved = centres(found.cam_from_world)
    assert np.linalg.norm(moved[0] - moved[1]) == pytest.approx(7.5)
    ratio = 7.5 / np.linalg.norm(np.diff(centres(scene.cam_from_world)[:2], axis=0))
    for index in range(COUNT):
        before = apply(invert(scene.cam_from_world[index]), np.array([[0.1, 0.2, 1]]) * scene.depths[index][3, 4])
        after = apply(invert(found.cam_from_world[index]), np.array([[0.1, 0.2, 1]]) * found.depths[index][3, 4])
        np.testing.assert_allclose(after, before * ratio, rtol=1e-5)
    assert np.cbrt(
        np.linalg.det(found.world_from_edge[0, :3, :3] @ np.linalg.inv(scene.world_from_edge[0, :3, :3]))
    ) == pytest.approx(ratio)
    assert found.covariances[0].trace() == pytest.approx(
        scene.covariances[0, :3, :3].trace() + ratio**2 * scene.covariances[0, 3:, 3:].trace()
    )


def test_rolled_photographs_leave_the_scene_as_it_is(scene):
    found = placed(scene, KnownOptions())
    assert found.priors is not None and not found.priors.upright
    np.testing.assert_array_equal(found.cam_from_world, scene.cam_from_world)


def test_a_part_without_positions_stands_by_itself(scene, positions):
    write_photographs(scene.image_root, positions)
    options = KnownOptions(georegister=True)
    images = with_priors(ImageSet(root=scene.image_root, views=scene.views), options)
    few = replace(scene, registered=np.arange(COUNT) < 3)
    with pytest.raises(InputError, match="3 photographs of the model have a GPS position"):
        in_world(few, options, images.priors)
    assert part_in_world(few, options, images.priors).priors.positions is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"georegister": True}, "0 photographs of the model have a GPS position"),
        ({"georegister": True, "scale_distance": ("0.jpg", "1.jpg", 1.0)}, "give one of them"),
        ({"scale_distance": ("0.jpg", "x.jpg", 1.0)}, "x.jpg, which is not in the model"),
        ({"scale_distance": ("0.jpg", "0.jpg", 1.0)}, "two photographs"),
        ({"scale_distance": ("0.jpg", "1.jpg", 0.0)}, "above 0"),
    ],
)
def test_what_cannot_be_done(scene, options, words):
    for name in scene.names:
        Image.new("RGB", (64, 64)).save(scene.image_root / name)
    with pytest.raises(InputError, match=words):
        placed(scene, KnownOptions(**options))


def test_known_poses_leave_nothing_to_scale(scene):
    views = [
        replace(view, known_cam_from_world=pose) if index < 3 else view
        for index, (view, pose) in enumerate(zip(scene.views, scene.cam_from_world, strict=True))
    ]
    posed = replace(scene, views=tuple(views))
    with pytest.raises(InputError, match="--poses"):
        placed(posed, KnownOptions(scale_distance=("0.jpg", "1.jpg", 1.0)))


def test_positions_without_size_or_on_a_line_are_refused(scene, positions):
    write_photographs(scene.image_root, positions[::-1] / 30)
    with pytest.raises(InputError, match="--scale-distance instead"):
        placed(scene, KnownOptions(georegister=True))
    line = np.outer(np.linspace(0, 300, COUNT), [1, 0.4, 0])
    on_line = replace(
        scene,
        cam_from_world=np.concatenate(
            [scene.cam_from_world[:, :, :3], -scene.cam_from_world[:, :, :3] @ line[:, :, None]], axis=2
        ),
    )
    write_photographs(scene.image_root, line)
    with pytest.raises(InputError, match="on a line"):
        placed(on_line, KnownOptions(georegister=True))


def test_missing_heights_leave_the_scene_flat(scene, positions):
    write_photographs(scene.image_root, positions, has_height=False)
    moved = centres(placed(scene, KnownOptions(georegister=True)).cam_from_world)
    np.testing.assert_allclose((moved - moved[0])[:, :2], (positions - positions[0])[:, :2], atol=5)
