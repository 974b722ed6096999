"""CO3Dv2 and RealEstate10K in miniature: published layouts from files to table, and what is said of damaged ones."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.geometry.pinhole import intrinsics, project
from dust3r_sfm.geometry.transforms import apply
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.scene_file import write_scene
from dust3r_sfm.synthetic.render import render
from dust3r_sfm.synthetic.sample import true_scene
from dust3r_sfm.synthetic.shots import Shot, look_at
from pipelines.__main__ import main
from pipelines.co3d.annotations import cam_from_world
from pipelines.co3d.published import CATEGORIES
from pipelines.frames import FrameSequence, choose_frames

SIZE, FOCAL = (256, 192), 230.0
NUM_FRAMES, SEED = 3, 0
APPLE, BENCH = "apple/110_13051_23361", "bench/415_57112_110099"


def _arc(num: int, start: float) -> np.ndarray:
    """Camera from world of frames on an arc of half a radian around the courtyard's middle."""
    angles = start + np.linspace(0, 0.5, num)
    places = np.column_stack([3.9 * np.cos(angles), 3.9 * np.sin(angles), 1.65 + 0.2 * np.sin(5 * angles)])
    return np.stack([look_at(place, np.array([0.0, 0.0, 0.85]), roll=0.0) for place in places])


def _render(root: Path, world, sequences: list[FrameSequence]) -> None:
    """Write the chosen frames, and the scene that the oracle knows."""
    shots = [
        Shot(name=frame, size=SIZE, orientation=1, intrinsics=intrinsics(FOCAL, SIZE), cam_from_world=pose)
        for sequence in sequences
        for frame, pose in zip(sequence.frames, sequence.cam_from_world, strict=True)
    ]
    for shot in shots:
        (root / shot.name).parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(render(world, shot.cam_from_world, shot.intrinsics, SIZE, samples=1))
        picture.save(root / shot.name)
    write_scene(root / "scene.h5", true_scene(world, shots, root, Grid(size=max(SIZE))))


def _pytorch3d(pose: np.ndarray) -> dict[str, list]:
    """The camera as CO3D stores it: x left, y up, rows; the focal length over half the shorter side."""
    flip = np.array([-1.0, -1.0, 1.0])
    return {
        "R": (pose[:, :3].T * flip).tolist(),
        "T": (pose[:, 3] * flip).tolist(),
        "focal_length": [2 * FOCAL / min(SIZE)] * 2,
        "principal_point": [0.0, 0.0],
        "intrinsics_format": "ndc_isotropic",
    }


def _write_jgz(path: Path, content: object) -> None:
    path.write_bytes(gzip.compress(json.dumps(content).encode()))


@pytest.fixture(scope="module")
def co3d(world, tmp_path_factory):
    """Two categories as unpacked: one tested sequence each, a bad one and a short one; one frame without a mask."""
    root = tmp_path_factory.mktemp("co3d")
    chosen = []
    for number, name in enumerate((APPLE, BENCH)):
        category, sequence = name.split("/")
        folder = root / category
        (folder / "set_lists").mkdir(parents=True)
        poses = {sequence: _arc(52, start=2.0 * number), "1_1_1": _arc(52, start=1.0), "2_2_2": _arc(49, start=1.0)}
        entries, listed = [], []
        for one, cameras in poses.items():
            for index, pose in enumerate(cameras, start=1):
                frame, mask = (
                    f"{category}/{one}/images/frame{index:06d}.jpg",
                    f"{category}/{one}/masks/frame{index:06d}.png",
                )
                viewpoint = _pytorch3d(pose)
                entries.append(
                    {
                        "sequence_name": one,
                        "frame_number": index,
                        "frame_timestamp": index / 10,
                        "image": {"path": frame, "size": [SIZE[1], SIZE[0]]},
                        "mask": {"path": mask, "mass": 9.0},
                        "viewpoint": viewpoint,
                    }
                )
                listed.append([one, index, frame])
                (root / mask).parent.mkdir(parents=True, exist_ok=True)
                shown = index != 7  # the seventh shows nothing
                Image.fromarray(np.full((4, 6), 255 * shown, np.uint8)).save(root / mask)
        _write_jgz(folder / "frame_annotations.jgz", entries)
        qualities = [
            {"sequence_name": one, "category": category, "viewpoint_quality_score": 0.2 if one == "1_1_1" else 0.9}
            for one in poses
        ]
        _write_jgz(folder / "sequence_annotations.jgz", qualities)
        (folder / "set_lists" / "set_lists_fewview_dev.json").write_text(
            json.dumps({"train": [], "val": [], "test": listed})
        )
        left = [index for index in range(52) if index != 6]
        everything = FrameSequence(
            name=name,
            group=category,
            frames=tuple(f"{name}/images/frame{index + 1:06d}.jpg" for index in left),
            cam_from_world=poses[sequence][left],
        )
        chosen.append(choose_frames(everything, NUM_FRAMES, SEED))
    _render(root, world, chosen)
    return root


@pytest.fixture(scope="module")
def re10k(world, tmp_path_factory):
    """Two sequences with frames and one whose video is gone."""
    root = tmp_path_factory.mktemp("re10k")
    (root / "test").mkdir()
    chosen = []
    for number, name in enumerate(("0a1b", "0c2d", "0e3f")):
        poses, stamps = _arc(12, start=1.3 * number), [str(9_966_000 + 100_100 * index) for index in range(12)]
        lines = [
            " ".join([stamp, f"{FOCAL / SIZE[0]} {FOCAL / SIZE[1]} 0.5 0.5 0 0", *map(repr, pose.ravel().tolist())])
            for stamp, pose in zip(stamps, poses, strict=True)
        ]
        (root / "test" / f"{name}.txt").write_text("https://www.youtube.com/watch?v=none\n" + "\n".join(lines) + "\n")
        order = sorted(range(12), key=stamps.__getitem__)
        everything = FrameSequence(
            name=name,
            group="test",
            frames=tuple(f"frames/{name}/{stamps[index]}.png" for index in order),
            cam_from_world=poses[order],
        )
        chosen.append(choose_frames(everything, NUM_FRAMES, SEED))
    _render(root, world, chosen[:2])
    (root / "re10k_test_1800.txt").write_text("0a1b\n0c2d\n0e3f\n")
    return root


def _arguments(name: str, root: Path, out: Path, *more: str) -> list[str]:
    oracle = ["--predictor", "oracle", "--weights", str(root / "scene.h5")]
    return [name, str(root), str(out), "--num-frames", str(NUM_FRAMES), "--num-workers", "1", *oracle, *more]


def _figures(out: Path) -> dict[str, float]:
    return json.loads((out / "results.json").read_text())["measured"]


PERFECT = {"RRA@5", "RRA@15", "RRA@30", "RTA@5", "RTA@15", "RTA@30", "mAA@30"}


def test_cameras_of_pytorch3d_project_as_its_manual_says():
    """Screen = (W, H)/2 - min(W, H)/2 · f · (X, Y)/Z of X_world R + T: the manual's NDC, without our conversion."""
    pose = _arc(1, start=0.3)[0]
    stored = _pytorch3d(pose)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3))
    local = points @ np.array(stored["R"]) + np.array(stored["T"])
    ndc = stored["focal_length"][0] * local[:, :2] / local[:, 2:]
    screen = np.array(SIZE) / 2 - min(SIZE) / 2 * ndc
    ours = project(apply(cam_from_world(stored), points), intrinsics(FOCAL, SIZE))
    np.testing.assert_allclose(ours, screen, atol=1e-9)


@pytest.mark.parametrize("way", ["pnp", "aligned"])
def test_the_oracle_is_perfect_on_co3d(co3d, tmp_path, capsys, way):
    categories = ["--categories", "apple", "bench"]
    assert main(_arguments("CO3D", co3d, tmp_path, "--way", way, *categories)) == 0
    shown = capsys.readouterr().out
    assert "95.3" in shown and "DUSt3R" in shown and "**Partial**" in shown  # 2 of 41 categories
    assert _figures(tmp_path) == dict.fromkeys(PERFECT, 100.0)
    frames = json.loads((tmp_path / "frames.json").read_text())
    assert set(frames) == {APPLE, BENCH} and all(len(each) == NUM_FRAMES for each in frames.values())
    with gzip.open(tmp_path / "annotations" / "apple_test.jgz") as file:
        made = json.load(file)
    assert "1_1_1" not in made and len(made[APPLE.split("/")[1]]) == 51  # bad views; a frame without an object


def test_a_run_goes_on_where_it_was_and_refuses_other_options(co3d, tmp_path, capsys):
    arguments = _arguments("CO3D", co3d, tmp_path, "--way", "pnp", "--categories", "apple")
    assert main(arguments) == 0
    samples = tmp_path / "samples.json"
    content = json.loads(samples.read_text())
    content["samples"][APPLE]["rotation_deg"] = [20.0, 0.0, 0.0]
    samples.write_text(json.dumps(content))
    assert main([*arguments, "bench", "--limit", "1"]) == 0  # the first is not measured again, the second is
    figures = _figures(tmp_path)
    assert figures["RRA@15"] == pytest.approx((200 / 3 + 100) / 2) and figures["RTA@15"] == 100
    assert figures["mAA@30"] == pytest.approx((100 * (20 * 2 / 3 + 10) / 30 + 100) / 2)
    assert main([*arguments, "--way", "aligned"]) == 1
    assert "(align, way)" in capsys.readouterr().err
    samples.write_text("{}")
    assert main(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0 and _figures(tmp_path)["RRA@15"] == 100


def _missing_without_annotations(root: Path, out: Path) -> dict[str, str]:
    assert main(_arguments("CO3D", root, out, "--way", "pnp")) == 0
    return json.loads((out / "results.json").read_text())["missing"]


def test_half_a_data_set_is_listed_and_the_rest_judged(co3d, tmp_path, capsys):
    root = tmp_path / "data"
    shutil.copytree(co3d, root)
    next((root / APPLE / "images").iterdir()).unlink()
    (root / "bench" / "sequence_annotations.jgz").write_bytes(b"cut short")
    assert main(_arguments("CO3D", root, tmp_path / "out", "--way", "pnp")) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "holds no sequence of CO3Dv2" in error and "apple/, backpack/" in error and error.endswith(".")
    shutil.copy(co3d / "bench" / "sequence_annotations.jgz", root / "bench")
    frames = json.loads(gzip.decompress((root / "apple" / "frame_annotations.jgz").read_bytes()))
    _write_jgz(root / "apple" / "frame_annotations.jgz", [{**frame, "viewpoint": None} for frame in frames])
    assert main(_arguments("CO3D", root, tmp_path / "out", "--way", "pnp")) == 0
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert result["partial"] and set(result["groups"]) == {"bench"} and result["measured"]["mAA@30"] == 100
    assert "there is no" in result["missing"][APPLE]  # its annotations had been made before
    assert "without picture or camera" in _missing_without_annotations(root, tmp_path / "new")["apple"]
    assert len(result["missing"]) == len(CATEGORIES) - 1
    assert "**Partial**" in capsys.readouterr().out


@pytest.mark.parametrize("way", ["pnp", "aligned"])
def test_the_oracle_is_perfect_on_realestate10k(re10k, tmp_path, capsys, way):
    assert main(_arguments("RealEstate10K", re10k, tmp_path, "--way", way)) == 0
    result = json.loads((tmp_path / "results.json").read_text())
    assert result["measured"] == dict.fromkeys(PERFECT, 100.0) and list(result["missing"]) == ["0e3f"]
    assert "2 sequences are here, of the 3 of re10k_test_1800.txt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda root: shutil.rmtree(root / "test"), "has no folder test"),
        (lambda root: shutil.rmtree(root / "frames"), "ID/TIMESTAMP.png"),
        (lambda root: (root / "re10k_test_1800.txt").write_text("\n"), "lists no sequence"),
        (lambda root: [p.write_text("url\n1 2 3\n") for p in (root / "test").iterdir()], "19 numbers"),
    ],
)
def test_an_unusable_realestate10k_is_one_sentence(re10k, tmp_path, capsys, damage, sentence):
    shutil.copytree(re10k, tmp_path / "data")
    damage(tmp_path / "data")
    assert main(_arguments("RealEstate10K", tmp_path / "data", tmp_path / "out")) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in error and error.startswith("pipelines: ") and error.endswith(".")


def test_the_frames_of_a_sequence_depend_on_nothing_but_its_name_and_the_seed():
    sequence = FrameSequence(
        name="apple/1", group="apple", frames=tuple("abcdefghij"), cam_from_world=_arc(10, start=0.0)
    )
    chosen = choose_frames(sequence, 4, seed=0)
    assert chosen.frames == choose_frames(sequence, 4, seed=0).frames == tuple(sorted(set(chosen.frames)))
    rows = [sequence.frames.index(frame) for frame in chosen.frames]
    np.testing.assert_array_equal(chosen.cam_from_world, sequence.cam_from_world[rows])
    assert any(choose_frames(sequence, 4, seed=seed).frames != chosen.frames for seed in range(1, 4))


def test_frames_of_another_run_are_taken_instead(co3d, tmp_path, capsys):
    listed = tmp_path / "frames.json"
    arguments = _arguments("CO3D", co3d, tmp_path / "out", "--way", "pnp", "--categories", "apple", "bench")
    assert main([*arguments, "--limit", "1"]) == 0
    frames = json.loads((tmp_path / "out" / "frames.json").read_text())
    listed.write_text(json.dumps({APPLE: [f"elsewhere/{Path(frame).name}" for frame in frames[APPLE][:2]]}))
    assert main([*arguments, "--frames", str(listed), "--overwrite"]) == 0
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert result["groups"]["apple"]["pairs"] == 1 and result["measured"]["mAA@30"] == 100
    assert "the list of frames has no two" in result["missing"][BENCH]
    listed.write_text(json.dumps({APPLE: ["frame000001.jpg", "frame999999.jpg"]}))
    assert main([*arguments, "--frames", str(listed), "--overwrite"]) == 1
    assert "lacks 1 of the 2 frames" in capsys.readouterr().err
    listed.write_text("[1]")
    assert main([*arguments, "--frames", str(listed)]) == 1
    assert "is no list of frames" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["pnp", "aligned"])
def test_a_network_that_knows_nothing_is_judged_over_all_pairs(re10k, small_weights, tmp_path, way):
    network = ["--predictor", "dust3r-224-linear", "--weights", str(small_weights), "--device", "cpu"]
    arguments = ["RealEstate10K", str(re10k), str(tmp_path), "--num-frames", str(NUM_FRAMES), "--limit", "1", *network]
    assert main([*arguments, "--way", way]) == 0
    result = json.loads((tmp_path / "results.json").read_text())
    assert result["groups"]["test"]["pairs"] == 3 and result["measured"]["mAA@30"] < 100 and result["partial"]
