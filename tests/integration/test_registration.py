"""Two places in one folder, a photograph that no pair has, and one of a third place: by their pixels alone."""

import json
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.colmap.model import read_model
from dust3r_sfm.evaluation.poses import evaluate_poses
from dust3r_sfm.export import export
from dust3r_sfm.options import PairOptions, ReconstructOptions, RunOptions
from dust3r_sfm.reconstruct import reconstruct
from dust3r_sfm.runs.summary import Summary
from dust3r_sfm.scene_file import read_scene, read_scenes, write_scenes
from dust3r_sfm.synthetic.sample import sample

pytestmark = pytest.mark.slow

COUNTS = {"a": 4, "b": 3, "c": 1}
"""Photographs of each place."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/ of all places, and truth-a.json, truth-b.json."""
    root = tmp_path_factory.mktemp("places")
    (root / "photos").mkdir()
    for seed, (place, count) in enumerate(COUNTS.items(), start=1):
        sample(root / place, num_views=max(count, 3), size=(512, 384), seed=seed)
        names = sorted(path.name for path in (root / place / "images").iterdir())[:count]
        for name in names:
            shutil.copy(root / place / "images" / name, root / "photos" / f"{place}_{name}")
        truth = json.loads((root / place / "truth" / "poses.json").read_text())
        (root / f"truth-{place}.json").write_text(json.dumps({f"{place}_{name}": truth[name] for name in names}))
    return root


@pytest.fixture(scope="module")
def run(places: Path) -> tuple[Path, Summary]:
    """A run whose pairs leave out the last photograph of the first place."""
    names = sorted(path.name for path in (places / "photos").iterdir())
    pairs = [*combinations(names[:3], 2), *combinations(names[4:7], 2)]
    (places / "pairs.txt").write_text("".join(f"{first} {second}\n" for first, second in pairs))
    options = ReconstructOptions(pairs=PairOptions(pairs="file", pairs_file=places / "pairs.txt"))
    summary = reconstruct(places / "photos", places / "out", options)
    assert summary is not None
    return places / "out", summary


def names_in(model: Path) -> list[str]:
    return sorted(image.name for image in read_model(model).images.values())


def test_every_place_has_its_model(places: Path, run) -> None:
    out, _ = run
    assert [name[:1] for name in names_in(out / "sparse" / "0")] == ["a"] * 4
    assert [name[:1] for name in names_in(out / "sparse" / "1")] == ["b"] * 3
    assert sorted(path.name for path in (out / "sparse").iterdir()) == ["0", "1"]
    for number, place in enumerate("ab"):
        errors = evaluate_poses(out / "sparse" / str(number), places / f"truth-{place}.json")
        assert errors.num_registered == COUNTS[place]
        assert errors.rra[15] == errors.rta[15] == 100
        assert read_model(out / "sparse" / str(number)).num_points3D() > 300


def test_the_summary_names_what_is_missing(run) -> None:
    out, summary = run
    assert len(summary.registered) == 4 and [one["model"] for one in summary.apart] == ["sparse/1"]
    (name,) = summary.dropped
    assert name.startswith("c_")
    text = str(summary)
    assert "registered          4 of 8 photographs" in text
    assert "1 photograph registered by keypoints" in text
    assert f"another model       {out / 'sparse' / '1'}, 3 photographs" in text
    assert "not placed by the alignment" not in text
    page = (out / "report.html").read_text()
    assert "sparse/1" in page and "placed by its keypoints" in page and summary.dropped[name] in page
    record = json.loads((out / "run.json").read_text())
    assert list(record["left_out"]) == [name] and len(record["apart"][0]["photographs"]) == 3


def test_a_second_call_says_the_same(places: Path, run) -> None:
    out, summary = run
    options = ReconstructOptions(pairs=PairOptions(pairs="file", pairs_file=places / "pairs.txt"))
    assert reconstruct(places / "photos", out, options) == summary


def test_export_of_the_run_writes_all_models_and_no_stale_ones(run, tmp_path: Path) -> None:
    out, _ = run
    (tmp_path / "again" / "sparse" / "7").mkdir(parents=True)
    shutil.copy(out / "features.h5", tmp_path / "again" / "features.h5")
    export(out, tmp_path / "again", ReconstructOptions(run=RunOptions(overwrite=True)))
    assert sorted(path.name for path in (tmp_path / "again" / "sparse").iterdir()) == ["0", "1"]
    for number in "01":
        first, second = (read_model(folder / "sparse" / number) for folder in (out, tmp_path / "again"))
        for image_id, image in first.images.items():
            poses = (one.cam_from_world().matrix() for one in (image, second.images[image_id]))
            assert np.allclose(*poses, atol=1e-6)


def test_scenes_beside_each_other(run, tmp_path: Path) -> None:
    out, _ = run
    scenes = read_scenes(out / "scene.h5")
    assert [int(scene.registered.sum()) for scene in scenes] == [3, 3]
    assert not (scenes[0].registered & scenes[1].registered).any()
    write_scenes(tmp_path / "scene.h5", [scenes[0], scenes[1], scenes[0]])
    write_scenes(tmp_path / "scene.h5", scenes[:1])
    assert [path.name for path in tmp_path.iterdir()] == ["scene.h5"]
    assert np.array_equal(read_scene(tmp_path / "scene.h5").cam_from_world, scenes[0].cam_from_world)
