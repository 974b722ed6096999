"""Rough cameras in, precise ones out, where they were: rendered photographs with known cameras, and real ones."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from dust3r_sfm.correction.frame import given_from_found
from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.evaluation.poses import evaluate_poses
from dust3r_sfm.geometry.transforms import centres, rotation_angle, rotation_exp
from dust3r_sfm.images.colmap_models import read_model
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.images.known_poses import read_poses
from dust3r_sfm.options import RefineCommand, RefineOptions
from dust3r_sfm.refine_cameras import refine_cameras
from dust3r_sfm.types import KnownCamera

Poses = dict[str, np.ndarray]


def true_cameras(truth: Path) -> tuple[Poses, Mapping[str, Any]]:
    """Poses and lenses of a poses.json."""
    content = json.loads(truth.read_text())
    content = content.get("images", content)
    names = sorted(name for name in content if "tvec" in content[name])
    return read_poses(truth, names)[0], {name: content[name]["camera"] for name in names}


def rough(poses: Poses, degrees: float, share: float, seed: int = 0) -> Poses:
    """Each camera turned by so many degrees and moved by such a share of the largest distance between two."""
    rng = np.random.default_rng(seed)
    every = np.array(list(poses.values()))
    places = centres(every)
    extent = np.linalg.norm(places[:, None] - places[None], axis=-1).max()
    turns, steps = (rng.normal(size=(len(every), 3)) for _ in range(2))
    turns, steps = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (turns, steps))
    rotation = rotation_exp(np.radians(degrees) * turns) @ every[:, :, :3]
    moved = places + share * extent * steps
    there = np.concatenate([rotation, -rotation @ moved[:, :, None]], axis=2)
    return dict(zip(poses, there, strict=True))


def write(path: Path, poses: Poses, lenses: Mapping[str, Any]) -> Path:
    path.write_text(
        json.dumps(
            {
                name: {
                    "qvec_cam_from_world": Rotation.from_matrix(pose[:, :3]).as_quat(scalar_first=True).tolist(),
                    "tvec": pose[:, 3].tolist(),
                    "camera": lenses[name],
                }
                for name, pose in poses.items()
            }
        )
    )
    return path


def kept_frame(out: Path, given: Poses) -> tuple[float, float]:
    """Rotation (degrees) and scale of the similarity from the model to the given cameras."""
    found = {i.name: np.asarray(i.cam_from_world().matrix()) for i in read_model(out).images.values()}
    names = sorted(found.keys() & given.keys())
    fit, _ = given_from_found(np.array([found[n] for n in names]), np.array([given[n] for n in names]))
    scale = float(np.cbrt(np.linalg.det(fit[:3, :3])))
    return float(rotation_angle(fit[:3, :3] / scale)), scale


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from dust3r_sfm.synthetic.sample import sample

    folder = tmp_path_factory.mktemp("rough") / "scene"
    sample(folder, num_views=8, size=(640, 480), seed=1)
    return folder


@pytest.fixture(scope="module")
def exact(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """AUC@1 of the run that starts from the true cameras."""
    out = tmp_path_factory.mktemp("exact")
    poses, lenses = true_cameras(scene / "truth" / "poses.json")
    summary = refine_cameras(write(out / "given.json", poses, lenses), scene / "images", out / "run")
    assert len(summary.registered) == 8
    assert not summary.dropped
    auc = evaluate_poses(out / "run", scene / "truth" / "poses.json").auc[1]
    assert auc > 95.0
    return auc


@pytest.mark.slow
@pytest.mark.parametrize(("degrees", "share"), [(3.0, 0.05), (5.0, 0.10)])
def test_rough_cameras_come_out_precise_and_where_they_were(degrees, share, scene, exact, tmp_path):
    poses, lenses = true_cameras(scene / "truth" / "poses.json")
    given = rough(poses, degrees, share)
    refine_cameras(write(tmp_path / "given.json", given, lenses), scene / "images", tmp_path / "run")
    assert evaluate_poses(tmp_path / "run", scene / "truth" / "poses.json").auc[1] > exact - 1.0
    rotation, scale = kept_frame(tmp_path / "run", given)
    assert rotation < 0.5
    assert scale == pytest.approx(1.0, abs=0.01)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["refines"].endswith("given.json")


@pytest.mark.slow
def test_a_wrong_camera_is_moved_by_name_and_one_without_a_pose_is_registered(scene, exact, tmp_path):
    poses, lenses = true_cameras(scene / "truth" / "poses.json")
    given = rough(poses, 3.0, 0.05)
    first, second, *_ = given
    turned = rotation_exp(np.array([0.3, 2.0, 0.5])) @ given[first][:, :3]
    given[first] = np.column_stack([turned, -turned @ np.array([4.0, -3.0, 6.0])])
    del given[second]
    out = tmp_path / "run"
    summary = refine_cameras(write(tmp_path / "given.json", given, lenses), scene / "images", out)
    assert len(summary.registered) == 8
    assert any(first in warning and "given wrongly" in warning for warning in summary.warnings)
    assert any(second in warning for warning in summary.warnings)
    assert evaluate_poses(out, scene / "truth" / "poses.json").auc[1] > exact - 1.0
    again = refine_cameras(tmp_path / "given.json", scene / "images", out)
    assert again.seconds == summary.seconds
    with pytest.raises(OutputError):
        refine_cameras(write(tmp_path / "given.json", poses, lenses), scene / "images", out)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["OPENCV", "OPENCV_FISHEYE"])
def test_a_strong_lens_is_found_from_a_rough_one(model, scene, tmp_path):
    """Barrel distortion, given with a focal length 3 % and coefficients 10 % off."""
    poses, lenses = true_cameras(scene / "truth" / "poses.json")
    (tmp_path / "images").mkdir()
    true, given = {}, {}
    for name, lens in lenses.items():
        true[name] = bent_photograph(scene / "images" / name, tmp_path / "images" / name, lens, model)
        fx, fy, cx, cy, *bend = true[name].params
        params = (1.03 * fx, 1.03 * fy, cx, cy, *(0.9 * value for value in bend))
        given[name] = {"model": model, "width": lens["width"], "height": lens["height"], "params": params}
    refine_cameras(
        write(tmp_path / "given.json", rough(poses, 3.0, 0.05), given), tmp_path / "images", tmp_path / "run"
    )
    assert evaluate_poses(tmp_path / "run", scene / "truth" / "poses.json").auc[1] > 95.0
    for image in read_model(tmp_path / "run").images.values():
        camera, wanted = image.camera, colmap_camera(true[image.name])
        assert camera.model.name == model
        x, y = np.meshgrid(np.linspace(0.05, 0.95, 9) * camera.width, np.linspace(0.05, 0.95, 7) * camera.height)
        pixels = np.column_stack([x.ravel(), y.ravel()])
        rays = np.column_stack([wanted.cam_from_img(pixels), np.ones(len(pixels))])
        assert np.percentile(np.linalg.norm(camera.img_from_cam(rays) - pixels, axis=1), 95) < 0.5


def bent_photograph(source: Path, target: Path, lens: Mapping[str, Any], model: str) -> KnownCamera:
    """Photograph anew through a lens what a pinhole took, without EXIF; returns the lens."""
    size = (lens["width"], lens["height"])
    pinhole = colmap_camera(KnownCamera(model=lens["model"], size=size, params=tuple(lens["params"])))
    longer, bend = {"OPENCV": (1.25, (-0.28, 0.07, 0.0, 0.0)), "OPENCV_FISHEYE": (1.1, (0.05, -0.02, 0.0, 0.0))}[model]
    focal, centre = longer * pinhole.mean_focal_length(), (size[0] / 2, size[1] / 2)
    taken = KnownCamera(model=model, size=size, params=(focal, focal, *centre, *bend))
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    plane = np.asarray(colmap_camera(taken).cam_from_img(np.column_stack([x.ravel(), y.ravel()])))
    places = np.asarray(pinhole.img_from_cam(np.column_stack([plane, np.ones(len(plane))]))) - 0.5
    pixels = np.asarray(Image.open(source).convert("RGB"))
    picture = cv2.remap(pixels, places.astype(np.float32).reshape(*x.shape, 2), None, cv2.INTER_CUBIC)
    Image.fromarray(picture).save(target, quality=95)
    return taken


def test_cameras_that_the_photographs_contradict_are_refused(scene, tmp_path):
    """Camera to world where world to camera belongs; and photographs of another set under the same names."""
    poses, lenses = true_cameras(scene / "truth" / "poses.json")
    every = list(poses.values())
    shuffled = dict(zip(poses, [every[index] for index in (3, 6, 1, 7, 0, 5, 2, 4)], strict=True))
    inverse = {name: np.column_stack([pose[:, :3].T, -pose[:, :3].T @ pose[:, 3]]) for name, pose in poses.items()}
    for number, given in enumerate((shuffled, inverse)):
        with pytest.raises(InputError, match="other photographs, or in other axes"):
            refine_cameras(write(tmp_path / "given.json", given, lenses), scene / "images", tmp_path / f"run{number}")


@pytest.mark.parametrize("refine", ["none", "pointmaps"])
def test_what_refine_cannot_do_is_refused(refine, scene, tmp_path):
    options = RefineCommand(refine=RefineOptions(refine=refine))
    with pytest.raises(InputError, match="does not read --refine"):
        refine_cameras(scene / "truth" / "poses.json", scene / "images", tmp_path / "run", options)


@pytest.mark.slow
@pytest.mark.data
def test_real_photographs(data_root: Path, tmp_path: Path) -> None:
    """Herz-Jesu-P8 from cameras that are off by 5 degrees and 10 % of the scene."""
    photos = data_root / "strecha_herzjesu_p8"
    poses, lenses = true_cameras(photos / "poses.json")
    given = rough(poses, 5.0, 0.10)
    refine_cameras(write(tmp_path / "given.json", given, lenses), photos / "images", tmp_path / "run")
    assert evaluate_poses(tmp_path / "run", photos / "poses.json").auc[1] > 92.8
    assert kept_frame(tmp_path / "run", given)[0] < 0.5
