import errno
import json

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.spatial.transform import Rotation

from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.geometry.pinhole import project, unproject
from dust3r_sfm.geometry.transforms import apply, invert
from dust3r_sfm.images.read import read_images
from dust3r_sfm.options import ImageOptions
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.synthetic import sample as sample_module
from dust3r_sfm.synthetic.courtyard import FREE_RADIUS_METRES, make_world
from dust3r_sfm.synthetic.render import render
from dust3r_sfm.synthetic.sample import sample
from dust3r_sfm.synthetic.shots import plan_shots

SIZE = (160, 120)


@pytest.fixture
def small_world(monkeypatch, world):
    monkeypatch.setattr(sample_module, "make_world", lambda rng: world)
    return world


@pytest.fixture
def folder(tmp_path, small_world):
    told = []
    photographs = sample(tmp_path / "s", num_views=8, size=SIZE, progress=lambda *n: told.append(n))
    assert photographs == tmp_path / "s" / "images" and told == [(n, 8) for n in range(1, 9)]
    return tmp_path / "s"


def test_the_photographs_are_read_as_any_others(folder):
    images = read_images(folder / "images", ImageOptions())
    assert [view.orientation for view in images.views] == [1, 1, 6, 1, 1, 8, 1, 1]
    assert [view.size for view in images.views] == [SIZE] * 7 + [SIZE[::-1]]
    scene = read_scene(folder / "truth" / "scene.h5")
    assert scene.names == images.names and scene.image_root == (folder / "images").resolve()
    for index, view in enumerate(images.views):
        assert view.network_size == tuple(scene.network_sizes[index])
        assert view.orientation == scene.views[index].orientation
        np.testing.assert_allclose(view.network_from_image, scene.network_from_image[index], atol=1e-9)
        assert view.focal_prior == pytest.approx(28 / np.hypot(36, 24) * 200)
    assert [view.camera_group for view in images.views] == [view.camera_group for view in scene.views]


def test_sideways_photographs_are_upright_after_turning(folder, small_world):
    """EXIF orientation brings each stored picture to the one an upright camera takes."""
    for shot in plan_shots(8, SIZE, np.random.default_rng(0)):
        stored = ImageOps.exif_transpose(Image.open(folder / "images" / shot.name))
        matrix = shot.intrinsics.copy()
        matrix[:2, 2] = stored.width / 2, stored.height / 2
        upright = render(small_world, shot.cam_from_world, matrix, stored.size)
        assert np.abs(np.asarray(stored, float) - upright).mean() < 6, shot.name


def test_scene_and_poses_say_the_same(folder):
    """A point of the network grid's depth, through poses.json, lands on the raw pixel that network_from_image says."""
    scene, poses = read_scene(folder / "truth" / "scene.h5"), json.loads((folder / "truth" / "poses.json").read_text())
    assert list(poses) == list(scene.names)
    for index, pose in enumerate(poses.values()):
        depth, matrix = scene.depths[index].astype(np.float64), scene.intrinsics[index]
        assert depth.shape == tuple(scene.network_sizes[index, ::-1])
        np.testing.assert_allclose(matrix, np.triu(matrix), atol=1e-9)
        xyz = apply(invert(scene.cam_from_world[index]), unproject(depth, matrix)[depth > 0])
        rotation = Rotation.from_quat(pose["qvec_cam_from_world"], scalar_first=True).as_matrix()
        camera = pose["camera"]
        fx, fy, cx, cy = camera["params"]
        assert (camera["width"], camera["height"]) == scene.views[index].size
        raw = project(xyz @ rotation.T + pose["tvec"], np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]))
        network = raw @ scene.network_from_image[index][:2, :2].T + scene.network_from_image[index][:2, 2]
        rows, columns = np.nonzero(depth > 0)
        np.testing.assert_allclose(network, np.stack([columns, rows], axis=-1) + 0.5, atol=1e-4)


def test_the_same_seed_gives_the_same_bytes(tmp_path, small_world):
    first, again, other = (sample(tmp_path / n, 2, SIZE, seed=s) for n, s in (("a", 0), ("b", 0), ("c", 1)))
    for photograph in first.iterdir():
        assert photograph.read_bytes() == (again / photograph.name).read_bytes()
        assert photograph.read_bytes() != (other / photograph.name).read_bytes()


def test_a_sample_is_replaced_but_nothing_else(folder, small_world):
    sample(folder, num_views=2, size=SIZE)
    assert len(list((folder / "images").iterdir())) == 2
    (folder.parent / "mine").mkdir()
    (folder.parent / "mine" / "thesis.tex").touch()
    with pytest.raises(OutputError, match="mine holds something that is not a sample"):
        sample(folder.parent / "mine", num_views=2, size=SIZE)


def test_one_view_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least two"):
        sample(tmp_path / "s", num_views=1)


def test_a_full_disk_leaves_nothing(tmp_path, small_world, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OutputError, match="disk is full"):
        sample(tmp_path / "s", num_views=2, size=SIZE)
    assert list(tmp_path.iterdir()) == []


def test_shots_walk_round_the_objects():
    for num_views in (2, 16, 50):
        shots = plan_shots(num_views, SIZE, np.random.default_rng(0))
        places = np.array([invert(shot.cam_from_world)[:, 3] for shot in shots])
        bearing = np.unwrap(np.arctan2(places[:, 1], places[:, 0]))
        np.testing.assert_allclose(np.degrees(np.diff(bearing)), 12 if num_views < 50 else 7.2, atol=2)
        assert np.linalg.norm(places[:, :2], axis=-1).min() > FREE_RADIUS_METRES + 0.8
        assert (places[:, 2] > 1).all() and all(shot.cam_from_world[1, 2] < -0.9 for shot in shots), "y points down"


def test_the_courtyard_differs_by_seed_and_leaves_room_for_cameras(monkeypatch):
    coarse = {"courtyard.TEXELS_PER_METRE": 80, "courtyard.OBJECT_TEXELS_PER_METRE": 90, "light.TEXELS_PER_METRE": 4}
    for name, value in {**coarse, "light.NUM_SKY_RAYS": 3, "light.NUM_SUN_RAYS": 2}.items():
        monkeypatch.setattr(f"dust3r_sfm.synthetic.{name}", value)
    worlds = [make_world(np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert all(np.array_equal(a, b) for a, b in zip(worlds[0].textures, worlds[1].textures, strict=True))
    assert len(worlds[0].surfaces) >= 50
    assert any(not np.array_equal(a, b) for a, b in zip(worlds[0].textures, worlds[2].textures, strict=False))
    for world in worlds[1:]:
        for shot in plan_shots(10, SIZE, np.random.default_rng(0)):
            place = invert(shot.cam_from_world)[None, :, 3]
            everywhere = np.random.default_rng(0).standard_normal((500, 3))
            everywhere /= np.linalg.norm(everywhere, axis=-1, keepdims=True)
            assert world.trace(np.repeat(place, 500, axis=0), everywhere).distance.min() > 0.6
