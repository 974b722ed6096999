"""The pose of two photographs: the true one by every method, what is written about it, and bad input in a sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from dust3r_sfm.cli import main
from dust3r_sfm.errors import OutputError
from dust3r_sfm.geometry.transforms import compose, invert, rotation_angle
from dust3r_sfm.options import PredictOptions, RunOptions
from dust3r_sfm.pose import PairPose, relative_pose


def read_truth(path: Path) -> dict[str, np.ndarray]:
    """{name: cam_from_world of the raw pixel grid}, of poses.json."""
    poses = {}
    for name, record in json.loads(path.read_text(encoding="utf-8")).items():
        w, x, y, z = record["qvec_cam_from_world"]
        poses[name] = np.column_stack([Rotation.from_quat([x, y, z, w]).as_matrix(), record["tvec"]])
    return poses


def errors(cam2_from_cam1: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Degrees between the rotations, and between the translations."""
    one, other = cam2_from_cam1[:, 3], truth[:, 3]
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    rotation = float(rotation_angle(cam2_from_cam1[:, :3] @ truth[:, :3].T))
    return rotation, float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def by_method(pose: PairPose) -> dict[str, np.ndarray]:
    return {one.method: one.cam2_from_cam1 for one in pose.poses}


@pytest.fixture(scope="module")
def truth(sample_folder: Path) -> dict[str, np.ndarray]:
    return read_truth(sample_folder / "truth" / "poses.json")


@pytest.fixture(scope="module")
def turned(sample_folder: Path, truth: dict[str, np.ndarray]) -> tuple[str, str]:
    """Two neighbours of the sample of which EXIF turns one."""
    names = sorted(truth)
    orientations = []
    for name in names:
        with Image.open(sample_folder / "images" / name) as picture:
            orientations.append(picture.getexif().get(0x0112, 1))
    k = next(k for k in range(len(names) - 1) if orientations[k] != orientations[k + 1])
    return names[k], names[k + 1]


def test_every_method_finds_the_pose_of_raw_cameras_in_either_order(sample_folder, truth, turned):
    """By exact pointmaps; one of the two files is turned by EXIF, which the pose must not notice."""
    oracle = PredictOptions(predictor="oracle", weights=str(sample_folder / "truth" / "scene.h5"))
    for first, second in (turned, turned[::-1]):
        found = relative_pose(sample_folder / "images" / first, sample_folder / "images" / second, predictor=oracle)
        expected = compose(truth[second], invert(truth[first]))
        assert set(by_method(found)) == {"pnp", "procrustes", "epipolar"}
        for method, cam2_from_cam1 in by_method(found).items():
            assert max(errors(cam2_from_cam1, expected)) < 0.05, method
        np.testing.assert_allclose(compose(found.cam2_from_cam1, found.cam1_from_cam2), np.eye(3, 4), atol=1e-9)
        assert found.num_inliers > 0.95 * len(found.inlier)


def test_the_embedded_predictor(sample_folder, truth, tmp_path):
    first, second, *_ = sorted(truth)
    out = tmp_path / "out"
    found = relative_pose(sample_folder / "images" / first, sample_folder / "images" / second, out)
    assert max(errors(found.cam2_from_cam1, compose(truth[second], invert(truth[first])))) < 1.0
    record = json.loads((sample_folder / "truth" / "poses.json").read_text(encoding="utf-8"))
    for name, focal in ((first, found.focal1), (second, found.focal2)):
        assert focal == pytest.approx(record[name]["camera"]["params"][0], rel=0.03)
    text = str(found)
    assert all(word in text for word in ("recommended", "cam2_from_cam1", "cam1_from_cam2", first, second, "px"))
    written = json.loads((out / "pose.json").read_text(encoding="utf-8"))
    assert written["recommended"] == found.poses[0].method
    np.testing.assert_array_equal(written["poses"]["procrustes"]["cam2_from_cam1"], by_method(found)["procrustes"])
    assert len(written["matches"]) == len(found.inlier)
    with Image.open(out / "matches.png") as picture:
        sizes = [record[name]["camera"] for name in (first, second)]
        assert picture.width == sum(max(s["width"], s["height"]) for s in sizes)  # both are landscape when upright
    photographs = [sample_folder / "images" / name for name in (first, second)]
    with pytest.raises(OutputError, match="holds a pose already"):
        relative_pose(*photographs, out)
    again = relative_pose(*photographs, out, run=RunOptions(overwrite=True))
    np.testing.assert_array_equal(again.cam2_from_cam1, found.cam2_from_cam1)


@pytest.mark.data
def test_two_photographs_of_the_fountain(data_root):
    folder = data_root / "strecha_fountain_p11"
    truth = read_truth(folder / "poses.json")
    found = relative_pose(folder / "images" / "0000.jpg", folder / "images" / "0001.jpg")
    rotation, translation = errors(found.cam2_from_cam1, compose(truth["0001.jpg"], invert(truth["0000.jpg"])))
    assert rotation < 0.5 and translation < 1.0
    assert found.focal1 == pytest.approx(1380, rel=0.02)


@pytest.fixture
def bad(sample_folder, tmp_path) -> dict[str, Path]:
    """What people hand in by mistake."""
    good = sorted((sample_folder / "images").iterdir())[0]
    files = {name: tmp_path / f"{name}.png" for name in ("copy", "text", "small", "other", "missing")}
    files["copy"].write_bytes(good.read_bytes())
    files["text"].write_text("no picture")
    Image.new("RGB", (63, 80)).save(files["small"])
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(files["other"])
    return files | {"good": good, "same": good}


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        ("same", "are one file"),
        ("copy", "have the same bytes"),
        ("missing", "no photograph"),
        ("text", "cannot be used"),
        ("small", "63 × 80 pixels"),
        ("other", "share too little"),
    ],
)
def test_bad_input_is_a_sentence(capsys, bad, second, sentence):
    assert main(["pose", str(bad["good"]), str(bad[second])]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("dust3r-sfm:") and sentence in error and bad[second].name in error


def test_an_output_folder_of_something_else_is_refused(capsys, bad, tmp_path, sample_folder):
    pair = [str(path) for path in sorted((sample_folder / "images").iterdir())[:2]]
    assert main(["pose", *pair, str(tmp_path)]) == 1  # holds the files above
    assert "not empty" in capsys.readouterr().err
    assert main(["pose", *pair, pair[0]]) == 1
    assert "is a file" in capsys.readouterr().err
