"""The multi-view pose protocol against pycolmap, against its formulas written out, and against closed forms."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.cli import main
from dust3r_sfm.evaluation.multiview import (
    PairErrors,
    mean_average_accuracy,
    multiview_errors,
    pooled,
    pose_errors,
    relative_pose_errors,
)
from dust3r_sfm.geometry.transforms import rotation_exp
from dust3r_sfm.system._pycolmap import pycolmap

from .test_poses import synthesize, write_poses


def _poses(num: int = 10, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rotation_exp(rng.normal(size=(num, 3))), rng.normal(size=(num, 3, 1))], axis=2)


def _everything(num: int) -> np.ndarray:
    return np.ones(num, bool)


def test_errors_are_those_of_pycolmap_and_of_the_protocols_formulas():
    truth, found = _poses(), _poses(seed=1)
    errors = pose_errors(truth, found, _everything(10))
    expected = []
    for i in range(10):
        for j in range(i + 1, 10):
            relative = [pycolmap.Rigid3d(poses[j]) * pycolmap.Rigid3d(poses[i]).inverse() for poses in (truth, found)]
            rotation = (relative[0].rotation.inverse() * relative[1].rotation).angle()
            t, u = (each.translation / np.linalg.norm(each.translation) for each in relative)
            translation = math.acos(math.sqrt(1 - max(1 - float(t @ u) ** 2, 1e-15)))
            expected.append((math.degrees(rotation), math.degrees(translation)))
    np.testing.assert_allclose(np.column_stack([errors.rotation, errors.translation]), expected, atol=1e-9)
    assert errors.translation.max() <= 90 < errors.rotation.max()


def test_the_area_is_the_mean_of_the_joint_accuracies_of_whole_degrees():
    rng = np.random.default_rng(2)
    errors = PairErrors(rotation=rng.uniform(0, 40, 500), translation=rng.uniform(0, 40, 500))
    larger = np.maximum(errors.rotation, errors.translation)
    expected = np.mean([100 * np.mean(larger < degrees) for degrees in range(1, 31)])
    assert mean_average_accuracy(errors) == pytest.approx(expected, abs=1e-9)


def test_equal_poses_in_another_world_are_exactly_100():
    truth = _poses()
    turn = _poses(1, seed=3)[0]
    found = np.concatenate(
        [truth[:, :, :3] @ turn[:, :3].T, 7 * truth[:, :, 3:] - truth[:, :, :3] @ turn[:, :3].T @ turn[:, 3:]], axis=2
    )
    rows = multiview_errors(pose_errors(truth, found, _everything(10))).rows()
    assert {value for name, value in rows.items() if "@" in name} == {100.0}


@pytest.mark.parametrize("degrees", [3.5, 20.5])
def test_one_turned_camera_gives_the_closed_form(degrees):
    """9 of the 45 pairs are wrong by the turn, and no translation is: the camera stays where it is."""
    truth = _poses()
    found = truth.copy()
    found[0] = rotation_exp(np.radians([degrees, 0, 0])) @ truth[0]
    errors = multiview_errors(pose_errors(truth, found, _everything(10)))
    assert errors.rta[15] == 100 and errors.rra[15] == (100 if degrees < 15 else 80)
    whole = math.ceil(degrees)  # from this threshold on all pairs are right
    assert errors.maa == pytest.approx(100 * ((whole - 1) * 0.8 + (31 - whole)) / 30, abs=1e-9)


def test_the_direction_has_no_sign_and_no_pose_is_wrong():
    truth = _poses(4)
    mirrored = truth * np.array([1, 1, 1, -1])
    np.testing.assert_allclose(relative_pose_errors(truth, mirrored, _everything(4)).translation, 0, atol=1e-5)
    still = truth.copy()
    still[:, :, 3] = 0
    assert (relative_pose_errors(truth, still, _everything(4)).translation == 90).all()
    still[0, 0, 3] = np.nan
    errors = relative_pose_errors(truth, still, np.array([True, True, True, False]))
    assert errors.translation[0] == errors.translation[3] == errors.rotation[3] == 1e6
    counted = multiview_errors(errors)
    assert counted.num_pairs == 4 and counted.num_placed == 3 and counted.rra[15] == 75 and counted.maa == 0
    assert multiview_errors(pooled([errors, errors])).rra == counted.rra


def test_evaluate_prints_the_figures_of_the_protocol(tmp_path: Path, capsys):
    model = synthesize(5)
    model.write(str(tmp_path))
    write_poses(tmp_path / "poses.json", model)
    assert main(["evaluate", str(tmp_path), str(tmp_path / "poses.json"), "--protocol", "co3d", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows["pairs"] == rows["placed"] == 10 and rows["RTA@15"] == rows["mAA@30"] == 100
    assert main(["evaluate", str(tmp_path), str(tmp_path / "poses.json"), "--protocol", "co3d"]) == 0
    assert "mAA@30" in capsys.readouterr().out
