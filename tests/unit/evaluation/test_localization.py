"""Errors of localized photographs: medians, recalls, queries without a pose."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dust3r_sfm.errors import InputError
from dust3r_sfm.evaluation.localization import compare_poses, evaluate_localization, read_results


def _pose(centre, degrees=0.0):
    rotation = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    return np.column_stack([rotation, -rotation @ np.array(centre, float)])


TRUTH = {f"{number}.jpg": _pose((number, 0, 0), 10 * number) for number in range(4)}


def test_exact_poses_have_no_error():
    errors = compare_poses(TRUTH, TRUTH)
    assert errors.median_translation < 1e-12 and errors.median_rotation < 1e-5
    assert set(errors.recall.values()) == {100.0}


def test_errors_are_of_centres_and_angles():
    found = {name: _pose((number, 0.04, 0), 10 * number + 0.5) for number, name in enumerate(TRUTH)}
    errors = compare_poses(found, TRUTH)
    assert errors.median_translation == pytest.approx(0.04) and errors.median_rotation == pytest.approx(0.5)
    assert errors.recall[0.03, 3.0] == 0 and errors.recall[0.05, 5.0] == 100 and errors.recall[0.1, 1.0] == 100


def test_a_missing_query_is_infinitely_far():
    found = {name: TRUTH[name] for name in ("0.jpg", "1.jpg", "2.jpg")}
    errors = compare_poses(found, TRUTH)
    assert errors.num_localized == 3 and errors.translation["3.jpg"] == np.inf and errors.rotation["3.jpg"] == 180
    assert errors.recall[5.0, 10.0] == 75 and errors.median_translation < 1e-12
    half = compare_poses({"0.jpg": TRUTH["0.jpg"], "1.jpg": TRUTH["1.jpg"]}, TRUTH)
    assert half.median_translation == np.inf
    assert compare_poses({}, TRUTH).median_rotation == 180
    assert "inf" in str(half)


def test_files_are_compared_by_name(tmp_path):
    def numbers(pose):
        x, y, z, w = Rotation.from_matrix(pose[:, :3]).as_quat()
        return w, x, y, z, *pose[:, 3]

    lines = [f"{name} {' '.join(map(str, numbers(pose)))}" for name, pose in TRUTH.items()]
    (tmp_path / "results.txt").write_text("\n".join(lines[:3]) + "\n")
    poses = {
        name: {"qvec_cam_from_world": numbers(pose)[:4], "tvec": pose[:, 3].tolist()} for name, pose in TRUTH.items()
    }
    (tmp_path / "poses.json").write_text(json.dumps(poses))
    all_names = sorted(TRUTH)
    errors = evaluate_localization(tmp_path / "results.txt", tmp_path / "poses.json", all_names)
    assert errors.num_queries == 4 and errors.num_localized == 3
    assert evaluate_localization(tmp_path / "results.txt", tmp_path / "poses.json").num_queries == 3
    with pytest.raises(InputError, match=r"no pose of the query other\.jpg"):
        evaluate_localization(tmp_path / "results.txt", tmp_path / "poses.json", [*all_names, "other.jpg"])


@pytest.mark.parametrize("line", ["a.jpg 1 0 0 0 1 2", "a.jpg 1 0 0 zero 1 2 3", "a.jpg 0 0 0 0 1 2 3"])
def test_a_broken_line_is_named(tmp_path, line):
    (tmp_path / "results.txt").write_text(f"b.jpg 1 0 0 0 0 0 0\n{line}\n")
    with pytest.raises(InputError, match=r"results\.txt, line 2"):
        read_results(tmp_path / "results.txt")
