"""The whole chain on a rendered scene: with exact predictions, and with the embedded predictor on its pixels."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from dust3r_sfm.evaluation.poses import evaluate_poses
from dust3r_sfm.export import main as export_main
from dust3r_sfm.reconstruct import reconstruct
from dust3r_sfm.runs import stages
from dust3r_sfm.runs.clean import clean
from dust3r_sfm.system._pycolmap import pycolmap


def test_exact_predictions_give_exact_cameras(sample_folder, oracle_run):
    out, summary = oracle_run
    errors = evaluate_poses(out, sample_folder / "truth" / "poses.json")
    assert errors.num_registered == errors.num_images == 6
    assert errors.ate < 2e-3
    assert errors.focal_error < 2e-3
    assert summary.mean_track_length > 2.5


def test_every_file_is_there_and_says_what_it_should(oracle_run):
    out, summary = oracle_run
    for name in ("pairs.txt", "predictions.h5", "scene.h5", "database.db", "run.json", "report.html"):
        assert (out / name).is_file(), name
    assert not list(out.glob("**/*.tmp")) and not (out / "predictions.h5.parts").exists()
    binaries = {"cameras.bin", "images.bin", "points3D.bin", "rigs.bin", "frames.bin"}
    for folder in ("sparse/0", "dense/sparse", "dense/sparse/0"):
        assert binaries <= {path.name for path in (out / folder).iterdir()}, folder
    assert not list((out / "dense" / "stereo" / "depth_maps").iterdir())
    record = json.loads((out / "run.json").read_text())
    assert record["predictor"]["licence"] and record["versions"]["pycolmap"]
    assert record["summary"]["num_points"] == summary.num_points > 500
    assert f"dust3r-sfm view {out}" in str(summary)


def test_the_model_is_in_the_pixels_of_the_files(sample_folder, oracle_run):
    out, _ = oracle_run
    from PIL import Image

    reconstruction = pycolmap.Reconstruction(str(out / "sparse" / "0"))
    for image in reconstruction.images.values():
        with Image.open(sample_folder / "images" / image.name) as file:
            camera = reconstruction.cameras[image.camera_id]
            assert (camera.width, camera.height) == file.size


def test_a_second_call_computes_nothing(sample_folder, oracle_run, oracle_options):
    out, summary = oracle_run
    before = {path: path.stat().st_mtime_ns for path in (out / "scene.h5", out / "predictions.h5", out / "database.db")}
    again = reconstruct(sample_folder / "images", out, oracle_options)
    assert again == summary
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_clean_run_is_still_finished(sample_folder, oracle_run, oracle_options, tmp_path):
    out, summary = tmp_path / "out", oracle_run[1]
    shutil.copytree(oracle_run[0], out)
    assert sum(clean(out).values()) > 1_000_000 and not (out / "predictions.h5").exists()
    again = reconstruct(sample_folder / "images", out, oracle_options)
    assert again.registered == summary.registered and again.seconds == summary.seconds
    assert not (out / "predictions.h5").exists()


def test_export_of_a_run_needs_the_format_and_gives_the_same_model(oracle_run, tmp_path, capsys):
    out, _ = oracle_run
    assert export_main([str(out), str(tmp_path / "other")]) == 1
    assert "--colmap" in capsys.readouterr().err
    assert export_main([str(out), str(tmp_path / "other"), "--colmap"]) == 0
    poses = [cameras_of(folder / "sparse" / "0") for folder in (out, tmp_path / "other")]
    assert poses[0].keys() == poses[1].keys()


@pytest.mark.slow
def test_export_of_a_finished_run_copies_and_other_options_compute(oracle_run, tmp_path, monkeypatch):
    run, other = oracle_run[0], tmp_path / "other"
    with monkeypatch.context() as patch:
        patch.setattr(stages, "write_colmap", None)  # nothing is computed
        assert export_main([str(run), str(other), "--colmap", "--refine", "none"]) == 0
    for name in ("database.db", "sparse/0/images.bin", "dense/sparse/0/points3D.bin"):
        assert (other / name).read_bytes() == (run / name).read_bytes()
    (other / "sparse" / "1").mkdir()
    plain = [str(run), str(other), "--colmap", "--overwrite"]
    assert export_main([*plain, "--match-stride", "9", "--refine", "none"]) == 0
    assert (other / "sparse" / "0" / "images.bin").read_bytes() != (run / "sparse" / "0" / "images.bin").read_bytes()
    assert not (other / "sparse" / "1").exists()
    (run / "predictions.h5").rename(tmp_path / "away.h5")
    assert export_main([*plain, "--refine", "none"]) == 0  # also after dust3r-sfm clean
    (tmp_path / "away.h5").rename(run / "predictions.h5")
    assert cameras_of(other / "sparse" / "0").keys() == cameras_of(run / "sparse" / "0").keys()


@pytest.mark.parametrize(
    "words",
    [
        ["--colmap", "--window", "3"],
        ["--colmap", "--shard", "1/2"],
        ["--ply", "--match-stride", "9"],
        ["--ply", "--seed", "1"],
    ],
)
def test_export_of_a_run_refuses_what_would_change_nothing(oracle_run, tmp_path, capsys, words):
    assert export_main([str(oracle_run[0]), str(tmp_path / "other"), *words]) == 1
    assert f"does not read {words[1]}" in capsys.readouterr().err and not (tmp_path / "other").exists()


def cameras_of(folder: Path) -> dict[str, np.ndarray]:
    images = pycolmap.Reconstruction(str(folder)).images.values()
    return {image.name: image.cam_from_world().matrix() for image in images}


@pytest.fixture(scope="module")
def classical_run(sample_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("classical") / "out"
    return out, reconstruct(sample_folder / "images", out)


@pytest.mark.slow
def test_the_embedded_predictor_reconstructs_pixels(sample_folder, classical_run):
    out, summary = classical_run
    errors = evaluate_poses(out, sample_folder / "truth" / "poses.json")
    assert errors.num_registered == 6
    assert errors.rra[5] >= 95 and errors.rta[5] >= 90
    assert errors.ate < 0.03
    assert "classical" in summary.predictor


@pytest.mark.slow
def test_two_runs_agree(sample_folder, classical_run, tmp_path):
    out, summary = classical_run
    again = reconstruct(sample_folder / "images", tmp_path / "again")
    assert again.registered == summary.registered
    first, second = cameras_of(out / "sparse" / "0"), cameras_of(tmp_path / "again" / "sparse" / "0")
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_allclose(second[name], first[name], atol=1e-6)


@pytest.mark.slow
def test_colmap_files_agree_with_each_other(classical_run):
    """Keypoint numbers of the database are those of the model."""
    out, _ = classical_run
    reconstruction = pycolmap.Reconstruction(str(out / "sparse" / "0"))
    with pycolmap.Database.open(str(out / "database.db")) as database:
        for image in reconstruction.images.values():
            keypoints = database.read_keypoints(image.image_id)
            xy = np.array([point.xy for point in image.points2D])
            np.testing.assert_allclose(np.asarray(keypoints)[:, :2], xy, atol=1e-2)


def test_stores_hold_one_group_per_directed_pair(oracle_run):
    out, _ = oracle_run
    groups = []
    with h5py.File(out / "predictions.h5") as file:
        file.visititems(lambda name, item: groups.append(name) if "points1" in getattr(item, "keys", list)() else None)
    assert len(groups) == 6 * 5
