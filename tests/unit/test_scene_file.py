from dataclasses import asdict, fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import rotation_exp
from dust3r_sfm.images.masks import with_masks
from dust3r_sfm.scene_file import read_scene, write_scene
from dust3r_sfm.types import ControlPoints, KnownCamera, Positions, Priors, Scene, View

CAMERA = KnownCamera(model="RADIAL", size=(9, 5), params=(1 / 3, 4.5, 2.5, 0.1, -1e-17))


def _pose(rng: np.random.Generator) -> np.ndarray:
    return np.column_stack([rotation_exp(rng.normal(size=3)), rng.normal(size=3)])


def _scene() -> Scene:
    rng = np.random.default_rng(0)
    shapes = [(6, 8), (5, 9), (7, 4)]
    views = [
        View(
            name=name,
            path=Path("photos") / name,
            size=(99 - index, 55 + index),
            orientation=(1, 6, 8)[index],
            network_size=shapes[index][::-1],
            network_from_image=rng.normal(size=(3, 3)),
            focal_prior=(None, 812.3, None)[index],
            camera_group=(0, 0, 1)[index],
            mask=(None, None, Path("masks/c.png"))[index],
            known_intrinsics=(rng.normal(size=(3, 3)), None, None)[index],
            known_cam_from_world=(_pose(rng), None, _pose(rng))[index],
            known_camera=(CAMERA, None, None)[index],
        )
        for index, name in enumerate(("a b.jpg", "ordner/ü.jpg", "c.jpg"))
    ]
    return Scene(
        image_root=Path("photos"),
        views=tuple(views),
        intrinsics=rng.uniform(1, 9, size=(3, 3, 3)),
        cam_from_world=np.array([_pose(rng) for _ in range(3)]),
        registered=np.array([True, True, False]),
        depths=tuple(rng.uniform(0, 9, s).astype(np.float32) for s in shapes),
        confidences=tuple(rng.uniform(1, 99, s).astype(np.float32) for s in shapes),
        edges=np.array([[0, 1], [1, 0]]),
        world_from_edge=rng.normal(size=(2, 4, 4)),
        edge_weights=np.array([0.5, 0.0]),
        edge_residuals=np.array([0.01, np.inf]),
        edge_cycles=np.array([[1.0, 2.0, 0.1], [np.nan] * 3]),
        covariances=rng.normal(size=(3, 6, 6)),
        warnings=("One – two.",),
    )


def _assert_same(found: View | Scene, wanted: View | Scene) -> None:
    for field in fields(wanted):
        a, b = getattr(found, field.name), getattr(wanted, field.name)
        if field.name == "views":
            for view, other in zip(a, b, strict=True):
                _assert_same(view, other)
        elif field.name == "confidences":
            assert all(np.allclose(x, y, rtol=1e-3) for x, y in zip(a, b, strict=True))
        elif field.name == "depths":
            assert all((x == y).all() for x, y in zip(a, b, strict=True))
        elif isinstance(b, np.ndarray):
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b


def test_a_scene_comes_back_as_it_was(tmp_path):
    scene = _scene()
    write_scene(tmp_path / "scene.h5", scene)
    _assert_same(read_scene(tmp_path / "scene.h5"), scene)
    assert [p.name for p in tmp_path.iterdir()] == ["scene.h5"]


def test_a_scene_without_edges_and_covariances_comes_back_too(tmp_path):
    scene = replace(
        _scene(),
        edges=np.empty((0, 2), np.int64),
        world_from_edge=np.empty((0, 4, 4)),
        edge_weights=np.empty(0),
        edge_residuals=np.empty(0),
        covariances=None,
        edge_cycles=None,
        warnings=(),
    )
    write_scene(tmp_path / "scene.h5", scene)
    _assert_same(read_scene(tmp_path / "scene.h5"), scene)


def test_the_photographs_may_have_moved(tmp_path):
    write_scene(tmp_path / "scene.h5", _scene())
    scene = read_scene(tmp_path / "scene.h5", Path("elsewhere"))
    assert scene.image_root == Path("elsewhere")
    assert [view.path for view in scene.views] == [Path("elsewhere") / name for name in scene.names]


def test_other_masks_take_the_place_of_those_it_was_made_with(tmp_path):
    (tmp_path / "ordner").mkdir()
    Image.new("L", (98, 56)).save(tmp_path / "ordner" / "ü.jpg.png")
    scene = with_masks(_scene(), tmp_path)
    assert [view.mask for view in scene.views] == [None, tmp_path / "ordner" / "ü.jpg.png", None]
    assert with_masks(_scene(), None).views[2].mask == Path("masks/c.png")
    with pytest.raises(InputError, match="no mask for any photograph"):
        with_masks(_scene(), tmp_path / "ordner")
    Image.new("L", (50, 100)).save(tmp_path / "ordner" / "ü.jpg.png")
    with pytest.raises(InputError, match=r"is 50 × 100 pixels large, but ordner/ü\.jpg is 98 × 56"):
        with_masks(_scene(), tmp_path)


def test_only_a_registered_image_has_a_known_pose():
    assert _scene().known_poses.tolist() == [True, False, False]
    assert _scene().known_cameras.tolist() == [True, False, False]


@pytest.mark.parametrize("knows", [True, False])
def test_a_scene_of_version_1_is_read(tmp_path, knows):
    """Known values were the scene's own; orientations, masks and focal priors were not kept."""
    scene = _scene()
    write_scene(tmp_path / "scene.h5", scene)
    with h5py.File(tmp_path / "scene.h5", "a") as h5:
        h5.attrs["version"] = 1
        for name in ("orientations", "focal_priors", "masks", "known_intrinsics", "known_cam_from_world"):
            del h5[name]
        if knows:
            h5["known_poses"] = np.array([True, False, False])
        else:
            del h5["known_cameras"]
    found = read_scene(tmp_path / "scene.h5")
    views = [
        replace(
            view,
            orientation=1,
            focal_prior=None,
            mask=None,
            known_camera=view.known_camera if knows else None,
            known_intrinsics=scene.intrinsics[index] if knows and index == 0 else None,
            known_cam_from_world=scene.cam_from_world[index] if knows and index == 0 else None,
        )
        for index, view in enumerate(scene.views)
    ]
    _assert_same(found, replace(scene, views=tuple(views)))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "scene.h5"
    write_scene(path, _scene())
    before = path.read_bytes()
    with pytest.raises(ValueError):
        write_scene(path, replace(_scene(), depths=_scene().depths[:2]))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["scene.h5"]


def test_what_is_not_a_scene_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"no scene file .*absent\.h5"):
        read_scene(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(InputError, match=r"text\.h5"):
        read_scene(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as h5:
        h5["x"] = 1
    with pytest.raises(InputError, match=r"other\.h5 is not a scene file"):
        read_scene(tmp_path / "other.h5")


@pytest.mark.parametrize("damage", ["cut", "missing", "view", "shape", "version"])
def test_a_damaged_scene_is_refused_in_a_sentence(tmp_path, damage):
    path = tmp_path / "scene.h5"
    write_scene(path, _scene())
    if damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        with h5py.File(path, "a") as h5:
            if damage == "version":
                h5.attrs["version"] = 99
            elif damage == "view":
                del h5["orientations"]
            else:
                del h5["intrinsics"]
                if damage == "shape":
                    h5["intrinsics"] = np.zeros((2, 3, 3))
    with pytest.raises(InputError, match=r"scene\.h5.*align"):
        read_scene(path)


def test_priors_come_back(tmp_path):
    xyz = np.array([[1.5, 2, 3], [np.nan] * 3, [4, 5, 6]])
    control = ControlPoints(
        names=("A", "ü"),
        xyz=np.array([[1.0, 2, 3], [4, 5, 6]]),
        point_of=np.array([0, 0, 1]),
        image_of=np.array([0, 2, 1]),
        xy=np.array([[1.0, 2], [3, 4], [5, 6]]),
    )
    priors = Priors(
        positions=Positions(xyz=xyz, sigmas=xyz / 3),
        gravity=-xyz,
        control=control,
        distance=(0, 2, 1.25),
        origin=(48.1, 11.5, 520.0),
        offset=(691000.0, 0.0, 0.0),
        upright=True,
    )
    for wanted in (priors, Priors()):
        write_scene(tmp_path / "scene.h5", replace(_scene(), priors=wanted))
        found = read_scene(tmp_path / "scene.h5").priors
        np.testing.assert_equal(asdict(found), asdict(wanted))


@pytest.mark.parametrize("name", ["../../../escaped.jpg", "/etc/escaped.jpg", "a\x1b[31m.jpg"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    scene = _scene()
    write_scene(tmp_path / "scene.h5", replace(scene, views=(replace(scene.views[0], name=name), *scene.views[1:])))
    with pytest.raises(InputError, match=r"scene\.h5.*rename it"):
        read_scene(tmp_path / "scene.h5")


@pytest.mark.parametrize("name", ["intrinsics", "edges", "depths/1", "names", "image_sizes", "covariances"])
def test_entries_of_another_kind_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_bytes(b"secret" * 999)
    write_scene(tmp_path / "other.h5", _scene())
    wrong = {
        "a group": lambda h5: h5.create_group(name),
        "a number": lambda h5: h5.__setitem__(name, 3.0),
        "a text": lambda h5: h5.__setitem__(name, "three"),
        "a link in the file": lambda h5: h5.__setitem__(name, h5py.SoftLink("/" + name)),
        "a link to a file": lambda h5: h5.__setitem__(name, h5py.ExternalLink(str(tmp_path / "other.h5"), name)),
        "128 GiB": lambda h5: h5.create_dataset(name, (1 << 34, 2), np.float32, fillvalue=1),
        "in another file": lambda h5: h5.create_dataset(
            name, (3, 3), np.float64, external=[(str(tmp_path / "secret.txt"), 0, 72)]
        ),
    }
    for what, put in wrong.items():
        path = tmp_path / f"{what}.h5"
        write_scene(path, _scene())
        with h5py.File(path, "r+") as h5:
            del h5[name]
            put(h5)
        with pytest.raises(InputError, match="align the photographs again"):
            read_scene(path)


def test_depths_and_cameras_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    scene = _scene()
    depths = (np.full_like(scene.depths[0], np.nan), *scene.depths[1:])
    for wrong in (replace(scene, depths=depths), replace(scene, intrinsics=np.full((3, 3, 3), np.nan))):
        write_scene(tmp_path / "scene.h5", wrong)
        with pytest.raises(InputError, match="damaged"):
            read_scene(tmp_path / "scene.h5")


@pytest.mark.parametrize("name", ["cam_from_world", "known_cam_from_world", "intrinsics"])
@pytest.mark.parametrize("factor", [0.0, -1.0, 2.0])
def test_cameras_that_cannot_be_are_refused(tmp_path: Path, name: str, factor: float) -> None:
    if name == "intrinsics" and factor > 0:
        pytest.skip("a longer lens can be")
    path = tmp_path / "scene.h5"
    write_scene(path, _scene())
    with h5py.File(path, "r+") as h5:
        h5[name][...] = factor * h5[name][()]
    with pytest.raises(InputError, match="damaged"):
        read_scene(path)
