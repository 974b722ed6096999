"""Pose errors against made-up errors of known size, and against the reference tool."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.evaluation.poses import evaluate_poses
from dust3r_sfm.geometry import transforms
from dust3r_sfm.system._pycolmap import pycolmap

DATA = Path(os.environ.get("DUST3R_SFM_DATA", "../shared/data"))


def synthesize(num_images: int = 8) -> Any:
    """A small exact model with one camera."""
    options = pycolmap.SyntheticDatasetOptions(
        num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=num_images, num_points3D=80
    )
    pycolmap.set_random_seed(0)
    return pycolmap.synthesize_dataset(options)


def write_poses(path: Path, model: Any, leave_out: int = 0) -> None:
    """Write the poses.json of a model, with quaternions that are not normalized."""
    images = {}
    for image in sorted(model.images.values(), key=lambda image: image.name)[leave_out:]:
        pose = image.cam_from_world()
        images[image.name] = {
            "qvec_cam_from_world": (2.0 * pose.rotation.quat[[3, 0, 1, 2]]).tolist(),
            "tvec": pose.translation.tolist(),
            "camera": {
                "model": "SIMPLE_RADIAL",
                "width": image.camera.width,
                "height": image.camera.height,
                "params": image.camera.params.tolist(),
            },
        }
    path.write_text(json.dumps({"images": images, "note": "made up"}))


def disturb(model: Any, degrees: float, distance: float, seed: int = 0) -> Any:
    """Turn and move every camera by a random amount."""
    rng = np.random.default_rng(seed)
    disturbed = pycolmap.Reconstruction(model)
    for frame in disturbed.frames.values():
        pose = frame.rig_from_world.matrix()
        turn = transforms.rotation_exp(np.radians(degrees) * rng.normal(size=3))
        frame.rig_from_world = pycolmap.Rigid3d(
            np.column_stack([turn @ pose[:, :3], pose[:, 3] + distance * rng.normal(size=3)])
        )
    return disturbed


def test_a_perfect_model_up_to_a_similarity_has_no_errors(tmp_path: Path) -> None:
    model = synthesize()
    write_poses(tmp_path / "poses.json", model)
    turn = pycolmap.Rotation3d(np.array([0.1, 0.2, -0.3, 0.9]))
    model.transform(pycolmap.Sim3d(3.7, turn, np.array([1.0, -2.0, 5.0])))
    errors = evaluate_poses(model, tmp_path / "poses.json")
    assert (errors.num_images, errors.num_registered, errors.num_points) == (8, 8, 80)
    assert set(errors.rra.values()) == set(errors.rta.values()) == {100.0}
    assert min(errors.auc.values()) > 99.99
    assert errors.ate is not None
    assert errors.ate < 1e-9
    assert errors.focal_error == 0.0


def test_a_turned_camera_counts_in_its_pairs_only(tmp_path: Path) -> None:
    model = synthesize(5)
    write_poses(tmp_path / "poses.json", model)
    frame = model.frames[1]
    turn = np.column_stack([transforms.rotation_exp(np.radians([0.0, 0.0, 4.0])), np.zeros(3)])
    frame.rig_from_world = pycolmap.Rigid3d(turn) * frame.rig_from_world
    errors = evaluate_poses(model, tmp_path / "poses.json")
    assert re.fullmatch(r"5 of 5 cameras, \S+° and \S+ % of the scene's extent off the reference", errors.sentence())
    # 4 of the 10 pairs hold the turned camera; its centre has not moved.
    assert errors.rra == {1: 60.0, 2: 60.0, 5: 100.0, 15: 100.0}
    assert errors.auc[10] <= 100 * (6 + 4 * 0.6) / 10 + 1e-6
    assert errors.ate is not None
    assert errors.ate < 1e-9


def test_unregistered_images_count_as_180_degrees(tmp_path: Path) -> None:
    model = synthesize(5)
    write_poses(tmp_path / "poses.json", model)
    model.deregister_frame(1)
    errors = evaluate_poses(model, tmp_path / "poses.json")
    assert (errors.num_images, errors.num_registered) == (5, 4)
    assert errors.rra[15] == errors.rta[15] == 60.0
    assert errors.auc[30] == pytest.approx(60.0, abs=1e-3)


def test_two_cameras_have_no_trajectory_and_images_beyond_the_reference_do_not_count(tmp_path: Path) -> None:
    model = synthesize(5)
    write_poses(tmp_path / "poses.json", model, leave_out=3)
    errors = evaluate_poses(model, tmp_path / "poses.json")
    assert (errors.num_images, errors.num_registered, errors.ate) == (2, 2, None)
    assert "registered               2\n" in str(errors)
    assert "ATE                      none\n" in str(errors)


def test_a_model_folder_is_a_reference_too(tmp_path: Path) -> None:
    model = synthesize()
    model.write(str(tmp_path))
    disturbed = disturb(model, 2.0, 0.1)
    write_poses(tmp_path / "poses.json", model)
    from_folder, from_json = (evaluate_poses(disturbed, path) for path in (tmp_path, tmp_path / "poses.json"))
    assert from_folder.rows() == pytest.approx(from_json.rows(), rel=1e-9)
    assert evaluate_poses(tmp_path, tmp_path).ate == pytest.approx(0.0, abs=1e-9)


def test_what_cannot_be_compared_says_so(tmp_path: Path) -> None:
    model = synthesize()
    path = tmp_path / "poses.json"
    path.write_text('{"a": 1}')
    with pytest.raises(InputError, match="fewer than two"):
        evaluate_poses(model, path)
    for content in ("[]", "no JSON"):
        path.write_text(content)
        with pytest.raises(InputError, match=r"poses\.json"):
            evaluate_poses(model, path)
    with pytest.raises(InputError, match=r"There is no .*missing\.json"):
        evaluate_poses(model, tmp_path / "missing.json")
    write_poses(path, model)
    path.write_text(path.read_text().replace("camera0", "other0"))
    with pytest.raises(InputError, match="has none of the names"):
        evaluate_poses(model, path)


def test_names_without_folders_match_where_no_full_name_does(tmp_path: Path) -> None:
    model = synthesize(5)
    write_poses(tmp_path / "poses.json", model)
    content = json.loads((tmp_path / "poses.json").read_text())
    moved = {f"images/{name}": entry for name, entry in content["images"].items()}
    (tmp_path / "poses.json").write_text(json.dumps({"images": moved}))
    errors = evaluate_poses(model, tmp_path / "poses.json")
    assert errors.num_registered == 5 and errors.auc[1] > 99.9
    moved["elsewhere/" + next(iter(content["images"]))] = next(iter(content["images"].values()))
    (tmp_path / "poses.json").write_text(json.dumps({"images": moved}))
    with pytest.raises(InputError, match="has none of the names"):  # which of the two is meant?
        evaluate_poses(model, tmp_path / "poses.json")


@pytest.mark.data
@pytest.mark.parametrize("size", [(0.3, 0.02), (3.0, 0.2), (30.0, 1.0)])
def test_the_reference_tool_gives_the_same_figures(tmp_path: Path, size: tuple[float, float]) -> None:
    tool = DATA.parent / "tools" / "evaluate_poses.py"
    if not tool.is_file():
        pytest.skip("the reference tool is not here")
    model = synthesize()
    write_poses(tmp_path / "poses.json", model)
    disturbed = disturb(model, *size)
    for camera in disturbed.cameras.values():
        camera.focal_length *= 1.03
    disturbed.deregister_frame(2)
    disturbed.write(str(tmp_path))
    command = [sys.executable, str(tool), str(tmp_path), str(tmp_path / "poses.json"), "--json"]
    expected = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    rows = evaluate_poses(tmp_path, tmp_path / "poses.json").rows()
    assert set(rows) == set(expected)
    for name, value in expected.items():
        assert rows[name] == pytest.approx(value, abs=0.0051 if "@" in name else 6e-4 if "length" in name else 6e-5), (
            name
        )


@pytest.mark.parametrize(
    "entry",
    [
        {"camera": {"model": "PINHOLE", "width": 0, "height": 480, "params": [500, 500, 320, 240]}},
        {"camera": {"model": "PINHOLE", "width": 640, "height": 480}},
        {"camera": {"model": "PINHOLE", "width": 640, "height": 480, "params": [-500, 500, 320, 240]}},
        {"camera": "PINHOLE"},
        {"tvec": [0, float("nan"), 0]},
        {"tvec": [0, 0]},
        {"qvec_cam_from_world": [0, 0, 0, 0]},
        {"qvec_cam_from_world": "abcd"},
    ],
    ids=str,
)
def test_a_reference_that_holds_no_camera_is_refused(tmp_path: Path, entry: dict[str, Any]) -> None:
    model = synthesize()
    write_poses(tmp_path / "poses.json", model)
    content = json.loads((tmp_path / "poses.json").read_text())
    next(iter(content["images"].values())).update(entry)
    (tmp_path / "poses.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"poses\.json"):
        evaluate_poses(model, tmp_path / "poses.json")


def test_a_reference_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "poses.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"poses\.json cannot be read"):
        evaluate_poses(synthesize(), tmp_path / "poses.json")
