"""7-Scenes in miniature: both layouts from files to table, and what is said of incomplete ones."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.geometry.transforms import invert
from dust3r_sfm.localization.depths import read_depth
from dust3r_sfm.localization.reference import model_of_poses
from pipelines.__main__ import main
from pipelines.seven_scenes.dataset import rendered_name
from pipelines.seven_scenes.registration import COLOUR, COLOUR_FROM_DEPTH, register_depth

from .conftest import MAPPING, QUERIES, add_points

NAMES = {index: f"seq-01/frame-{index:06d}.color.png" for index in MAPPING} | {
    index: f"seq-02/frame-{index:06d}.color.png" for index in QUERIES
}
ARGUMENTS = ["7Scenes", "--scenes", "heads", "--num-workers", "1"]


def _steps(depth):
    return Image.fromarray(np.rint(depth * 1000).astype(np.uint16))


@pytest.fixture(scope="module")
def raw(rendered, tmp_path_factory):
    """As published: sequences, depth and poses of the depth camera, split files."""
    dataset = tmp_path_factory.mktemp("raw")
    scene = dataset / "heads"
    rendered.write(scene, NAMES)
    for index, name in NAMES.items():
        world_from_depth = np.vstack([invert(rendered.depth_from_world[index]), (0, 0, 0, 1)])
        np.savetxt(scene / name.replace("color.png", "pose.txt"), world_from_depth)
    for depth, index in zip(rendered.depth_maps, MAPPING, strict=True):
        _steps(np.where(depth > 0, depth, 65.535)).save(scene / NAMES[index].replace("color", "depth"))
    (scene / "TrainSplit.txt").write_text("sequence1\n")
    (scene / "TestSplit.txt").write_text("sequence2\n\n")
    return dataset


@pytest.fixture(scope="module")
def hloc(rendered, tmp_path_factory):
    """As hloc has it: a model of all images, the list of test images, retrieval, rendered depth."""
    dataset = tmp_path_factory.mktemp("hloc")
    rendered.write(dataset / "heads", NAMES)
    model = model_of_poses(
        dict.fromkeys(NAMES.values(), COLOUR), {name: rendered.cam_from_world[i] for i, name in NAMES.items()}
    )
    add_points(model, rendered, NAMES)
    triangulated = dataset / "7scenes_sfm_triangulated" / "heads" / "triangulated"
    triangulated.mkdir(parents=True)
    model.write_binary(str(triangulated))
    (triangulated / "list_test.txt").write_text("\n".join(NAMES[index] for index in QUERIES))
    pairs = [f"{NAMES[query]} {NAMES[index]}\n" for query in QUERIES for index in (3, 1, 0, 4)]
    (dataset / "7scenes_densevlad_retrieval_top_10").mkdir()
    (dataset / "7scenes_densevlad_retrieval_top_10" / "heads_top10.txt").write_text("".join(pairs))
    depth = dataset / "depth" / "7scenes_heads" / "train" / "depth"
    depth.mkdir(parents=True)
    for index in MAPPING:
        _steps(rendered.depths[index]).save(depth / rendered_name(NAMES[index]))
    return dataset


def _medians(path):
    measured = json.loads(path.read_text())["measured"]["heads"]
    return measured["median_translation"], measured["median_rotation_deg"]


def test_depth_is_moved_to_the_colour_camera(rendered):
    for depth_map, index in zip(rendered.depth_maps, MAPPING, strict=True):
        registered, truth = register_depth(depth_map), rendered.depths[index]
        known = (registered > 0) & (truth > 0)
        assert known.mean() > 0.8 * (truth > 0).mean()
        error = np.abs(registered[known] / truth[known] - 1)
        unmoved = np.abs(depth_map / np.maximum(truth, 1e-9) - 1)[known]
        assert np.median(error) < 0.002 < np.median(unmoved)
        assert np.mean(error < 0.01) > 0.97
    assert not register_depth(np.zeros((480, 640), np.float32)).any()
    np.testing.assert_allclose(COLOUR_FROM_DEPTH[:, :3] @ COLOUR_FROM_DEPTH[:, :3].T, np.eye(3), atol=1e-6)


@pytest.mark.data
def test_registration_agrees_with_one_fitted_to_the_photographs(data_root):
    """The excerpt's depth_color was fitted to SfM points of the photographs, independently of the calibration here."""
    root = data_root / "7scenes_redkitchen"
    raw = read_depth(root / "seq-01" / "frame-000250.depth.png", 0.001)
    fitted = read_depth(root / "depth_color" / "frame-000250.depth.png", 0.001)
    registered = register_depth(raw)
    difference, unmoved = (
        np.abs(depth / np.maximum(fitted, 1e-9) - 1)[(registered > 0) & (fitted > 0)] for depth in (registered, raw)
    )
    assert np.median(difference) < 0.01 < np.median(unmoved)
    assert np.mean(difference < 0.05) > 0.95 > 0.9 > np.mean(unmoved < 0.05)


def test_the_published_layout_from_files_to_table(raw, tmp_path, capsys):
    arguments = [*ARGUMENTS, "--dataset", str(raw), "--outputs", str(tmp_path), "--num_loc", "2"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "DUSt3R 512, unknown focal" in shown and "4/1.33" in shown and "1/0.74" in shown and "chess" not in shown
    distance, angle = _medians(tmp_path / "results_dense.json")
    assert distance < 0.02 and angle < 0.15
    (line,) = (tmp_path / "heads" / "results_dense.txt").read_text().splitlines()
    assert line.split()[0] == NAMES[2] and len(line.split()) == 8
    assert (tmp_path / "heads" / "query_list_with_intrinsics.txt").read_text().startswith(f"{NAMES[2]} PINHOLE 640 480")
    assert main([*arguments, "--unknown_focal"]) == 0
    distance, angle = _medians(tmp_path / "results_dense_unknown_focal.json")
    assert distance < 0.1 and angle < 0.5
    assert main([*arguments, "--num_loc", "3"]) == 1  # results of other options are not replaced unasked
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("dense", [False, True])
def test_the_layout_of_hloc_from_files_to_table(hloc, tmp_path, dense):
    arguments = [*ARGUMENTS, "--dataset", str(hloc), "--outputs", str(tmp_path), "--num_loc", "2", "--num_covis", "2"]
    assert main([*arguments, *(["--use_dense_depth"] if dense else [])]) == 0
    distance, angle = _medians(tmp_path / f"results_{'dense' if dense else 'sparse'}.json")
    assert distance < 0.02 and angle < 0.15
    found = json.loads((tmp_path / "heads" / f"results_{'dense' if dense else 'sparse'}.json").read_text())
    assert found["queries"][NAMES[2]]["retrieved"] == [NAMES[3], NAMES[1]]
    pairs = (tmp_path / "heads" / "pairs-db-covis2.txt").read_text().splitlines()
    assert len(pairs) == 2 * len(MAPPING) and not any(NAMES[2] in pair for pair in pairs)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda scene: shutil.rmtree(scene), "no scene heads"),
        (lambda scene: (scene / "TestSplit.txt").unlink(), "TestSplit.txt is missing"),
        (lambda scene: (scene / "TrainSplit.txt").write_text("sequence1\n\nseqence2\n"), "TrainSplit.txt, line 3"),
        (lambda scene: (scene / "TrainSplit.txt").write_text("sequence7\n"), "unpack seq-07.zip"),
        (lambda scene: (scene / "TestSplit.txt").write_text("sequence1\n"), "TrainSplit.txt and TestSplit.txt"),
        (lambda scene: (scene / "seq-01" / "frame-000003.depth.png").unlink(), "frame-000003.depth.png for one"),
        (lambda scene: (scene / "seq-02" / "frame-000002.pose.txt").write_text("1 2 3"), "frame-000002.pose.txt"),
        (lambda scene: (scene / "seq-01" / "frame-000001.depth.png").write_text("no"), "frame-000001.depth.png"),
    ],
)
def test_an_incomplete_scene_is_one_sentence(raw, tmp_path, capsys, damage, sentence):
    shutil.copytree(raw, tmp_path / "data")
    damage(tmp_path / "data" / "heads")
    assert main([*ARGUMENTS, "--dataset", str(tmp_path / "data"), "--outputs", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in error and error.startswith("pipelines: ") and error.endswith(".")


def test_an_incomplete_archive_of_hloc_is_one_sentence(hloc, tmp_path, capsys):
    shutil.copytree(hloc, tmp_path / "data")
    arguments = [*ARGUMENTS, "--dataset", str(tmp_path / "data"), "--outputs", str(tmp_path / "out")]
    shutil.rmtree(tmp_path / "data" / "depth")
    assert main([*arguments, "--use_dense_depth"]) == 1
    assert "no rendered depth" in capsys.readouterr().err
    listed = tmp_path / "data" / "7scenes_sfm_triangulated" / "heads" / "triangulated" / "list_test.txt"
    listed.write_text("seq-02/frame-000009.color.png\n")
    assert main(arguments) == 1
    assert "list_test.txt, line 1" in capsys.readouterr().err
    assert main(["7Scenes", "--scenes", "attic", "--dataset", str(hloc)]) == 1
    assert "no scene attic" in capsys.readouterr().err
