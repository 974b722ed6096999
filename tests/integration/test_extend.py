"""New photographs into a model: it stays to the bit, they come where they belong."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.colmap.model import NO_TRACKS, reconstruction_from_scene, write_model
from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.evaluation.poses import evaluate_poses
from dust3r_sfm.extend import extend
from dust3r_sfm.options import (
    ImageOptions,
    KnownOptions,
    PairOptions,
    PredictOptions,
    ReconstructOptions,
    RefineOptions,
)
from dust3r_sfm.predictors.run import predict_pairs
from dust3r_sfm.runs import stages
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.synthetic.sample import sample
from dust3r_sfm.system._pycolmap import pycolmap

NUM_OLD = 4


@pytest.fixture(scope="module")
def options(sample_folder, tmp_path_factory):
    weights = tmp_path_factory.mktemp("weights") / "scene.h5"
    shutil.copy(sample_folder / "truth" / "scene.h5", weights)
    return oracle(weights)


def oracle(weights):
    return ReconstructOptions(
        predict=PredictOptions(predictor="oracle", weights=str(weights)), refine=RefineOptions(refine="none")
    )


@pytest.fixture(scope="module")
def model(sample_folder, tmp_path_factory):
    """Four of the six photographs, and a model of their true cameras with a few points."""
    names = sorted(path.name for path in (sample_folder / "images").iterdir())[:NUM_OLD]
    return true_model(sample_folder, names, tmp_path_factory.mktemp("old"))


def true_model(sample_folder, names, folder):
    """Some photographs and a model of their true cameras in a folder."""
    (folder / "images").mkdir()
    truth = read_scene(sample_folder / "truth" / "scene.h5")
    for name in names:
        shutil.copy(sample_folder / "images" / name, folder / "images")
    is_old = np.array([name in names for name in truth.names])
    model = reconstruction_from_scene(replace(truth, registered=is_old), NO_TRACKS)
    for image in model.images.values():
        image.points2D = [pycolmap.Point2D(xy) for xy in np.random.default_rng(0).uniform(0, 300, (5, 2))]
    for row in range(5):
        track = pycolmap.Track([pycolmap.TrackElement(image_id, row) for image_id in sorted(model.images)])
        model.add_point3D(np.random.default_rng(row).standard_normal(3), track, np.zeros(3, np.uint8))
    write_model(model, folder / "sparse" / "0")
    return folder


@pytest.fixture(scope="module")
def new_photographs(sample_folder, tmp_path_factory):
    """The other two."""
    folder = tmp_path_factory.mktemp("new")
    for path in sorted((sample_folder / "images").iterdir())[NUM_OLD:]:
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def extended(model, new_photographs, tmp_path_factory, options):
    out = tmp_path_factory.mktemp("extended") / "out"
    return out, extend(model, new_photographs, out, options)


def facts(folder, like):
    """Everything about the images, cameras and points of `like`, as `folder` has it."""
    reconstruction, names = pycolmap.Reconstruction(str(folder)), {image.name for image in like.images.values()}
    poses, cameras = {}, {}
    for image in reconstruction.images.values():
        if image.name in names:
            pose = image.cam_from_world()
            poses[image.name] = image.image_id, tuple(pose.rotation.quat), tuple(pose.translation)
            cameras[image.name] = image.camera_id, image.camera.model, tuple(image.camera.params)
    points = {key: tuple(reconstruction.points3D[key].xyz) for key in like.points3D}
    return poses, cameras, points


def test_the_old_model_stays_to_the_bit(model, extended):
    out, summary = extended
    before = pycolmap.Reconstruction(str(model / "sparse" / "0"))
    assert facts(out / "sparse" / "0", before) == facts(model / "sparse" / "0", before)
    assert summary.num_old == NUM_OLD


def test_the_new_photographs_come_where_they_belong(sample_folder, new_photographs, extended):
    out, summary = extended
    assert set(summary.added) == {path.name for path in new_photographs.iterdir()} and not summary.dropped
    errors = evaluate_poses(out, sample_folder / "truth" / "poses.json")
    assert errors.num_registered == 6
    assert errors.ate < 1e-4 and errors.auc[1] > 99
    reconstruction = pycolmap.Reconstruction(str(out / "sparse" / "0"))
    assert summary.num_points > 100
    for image in reconstruction.images.values():
        if image.name in summary.added:
            assert image.num_points3D > 50
    assert (out / "dense" / "sparse" / "0" / "images.bin").is_file()


def test_a_second_call_computes_nothing(model, new_photographs, extended, options):
    out, summary = extended
    before = {name: (out / name).stat().st_mtime_ns for name in ("scene.h5", "predictions.h5")}
    assert extend(model, new_photographs, out, options) == summary
    assert before == {name: (out / name).stat().st_mtime_ns for name in before}


def test_a_folder_with_old_photographs_and_useless_ones(model, sample_folder, tmp_path, options):
    """The folder serves as the root of all; what cannot be used is named with a reason."""
    folder = tmp_path / "all"
    shutil.copytree(sample_folder / "images", folder)
    (folder / "broken.jpg").write_bytes(b"no picture")
    Image.new("RGB", (16, 16)).save(folder / "icon.png")
    old = min(path.name for path in folder.iterdir() if path.name.startswith("courtyard"))
    shutil.copy(folder / old, folder / "a copy.jpg")
    summary = extend(model / "sparse" / "0", folder, tmp_path / "out", options, image_root=model / "images")
    assert len(summary.added) == 2
    assert set(summary.dropped) == {"broken.jpg", "icon.png", "a copy.jpg"}
    assert old in summary.dropped["a copy.jpg"]
    assert "broken.jpg" in str(summary)
    assert not (tmp_path / "out" / "photographs").exists()


def test_what_cannot_be_extended(model, new_photographs, sample_folder, tmp_path, options):
    changed = tmp_path / "changed"
    shutil.copytree(sample_folder / "images", changed)
    name = sorted(path.name for path in changed.iterdir())[0]
    shutil.copy(changed / sorted(path.name for path in changed.iterdir())[5], changed / name)
    with pytest.raises(InputError, match="differs from the photograph of that name"):
        extend(model, changed, tmp_path / "out", options)
    with pytest.raises(InputError, match="no photograph that the model has not"):
        extend(model, model / "images", tmp_path / "out", options)
    with pytest.raises(InputError, match="--images"):
        extend(model, new_photographs, tmp_path / "out", options, image_root=tmp_path)
    with pytest.raises(InputError, match="holds no COLMAP model"):
        extend(changed, new_photographs, tmp_path / "out", options)
    with pytest.raises(InputError, match="inside each other"):
        extend(model, new_photographs, model, options)
    assert not (tmp_path / "out").exists()


def test_a_portrait_file_does_not_take_the_camera_of_landscape_files(tmp_path):
    """They share a camera group up to a quarter turn, but a COLMAP camera is for one size of file."""
    scene = tmp_path / "scene"
    sample(scene, num_views=8, size=(320, 240), seed=1)
    portrait = "courtyard_07.jpg"
    names = sorted(path.name for path in (scene / "images").iterdir() if path.name != portrait)
    folder = tmp_path / "old"
    folder.mkdir()
    summary = extend(
        true_model(scene, names, folder), scene / "images", tmp_path / "out", oracle(scene / "truth" / "scene.h5")
    )
    assert summary.added == (portrait,)
    images = pycolmap.Reconstruction(str(tmp_path / "out" / "sparse" / "0")).images.values()
    (camera,) = [image.camera for image in images if image.name == portrait]
    assert (camera.width, camera.height) == (240, 320)
    errors = evaluate_poses(tmp_path / "out", scene / "truth" / "poses.json")
    assert errors.num_registered == 8 and errors.auc[5] > 95


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ({"predict": PredictOptions(shard="1/4")}, "--shard"),
        ({"pairs": PairOptions(pairs="file", pairs_file=Path("missing.txt"))}, "--pairs and --pairs-file"),
        ({"pairs": PairOptions(quadratic=False)}, "--no-quadratic"),
        ({"known": KnownOptions(georegister=True)}, "--georegister"),
    ],
    ids=["shard", "pairs", "quadratic", "georegister"],
)
def test_options_that_it_does_not_read_are_refused(model, new_photographs, tmp_path, given, flag):
    with pytest.raises(InputError, match=f"does not read {flag}"):
        extend(model, new_photographs, tmp_path / "out", ReconstructOptions(**given))
    assert not (tmp_path / "out").exists()


def test_a_cluster_predicts_where_it_is_asked_for(model, new_photographs, tmp_path, options, monkeypatch):
    asked = []

    def on_cluster(*arguments):
        asked.append(arguments)
        return predict_pairs(*arguments)

    monkeypatch.setattr(stages, "predict_on_cluster", on_cluster)
    extend(model, new_photographs, tmp_path / "out", replace(options, predict=replace(options.predict, ray=True)))
    assert len(asked) == 1


def test_what_changed_is_said_in_words(model, new_photographs, extended, options, tmp_path):
    out, summary = extended

    def refused(photos, given, words):
        with pytest.raises(OutputError, match=words):
            extend(model, photos, out, given)

    other_sharing = replace(options, images=ImageOptions(camera_sharing="per-image"))
    refused(new_photographs, other_sharing, r"another run \(camera sharing was auto, is now per-image\)")
    shutil.copy(new_photographs / summary.added[0], tmp_path)
    refused(tmp_path, options, rf"other photographs: {summary.added[1]} is gone")
    weights = options.predict.weights
    content = Path(weights).read_bytes()
    with Path(weights).open("ab") as file:
        file.write(b"more")
    refused(new_photographs, options, "other weights under the same name")
    Path(weights).write_bytes(content)  # the time differs, the content does not
    assert extend(model, new_photographs, out, options) == summary


def test_a_folder_of_the_first_version_is_refused_in_a_sentence(model, new_photographs, extended, options, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(extended[0], out)
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    del record["stages"]["images"]["inputs"]["camera_sharing"]
    (out / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(OutputError, match=r"that an earlier version of this program made.*--overwrite"):
        extend(model, new_photographs, out, options)
