"""What people really hand in: each gives one sentence and exit code 1, or a finished run that says what it left out."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.cli import main
from dust3r_sfm.synthetic.sample import sample
from dust3r_sfm.system._pycolmap import pycolmap

QUICK = ("--refine", "none")
"""Refinement has tests of its own."""


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    errors = [line for line in output.err.splitlines() if line.startswith("dust3r-sfm:")]
    if code == 1:
        assert len(errors) == 1, output.err
        assert "Traceback" not in output.err
    return code, (errors[0] if errors else output.out)


@pytest.fixture
def photos(sample_folder: Path, tmp_path: Path) -> Path:
    """A folder of its own with five neighbouring photographs of the rendered scene."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted((sample_folder / "images").iterdir())[:5]:
        shutil.copy(path, folder)
    return folder


def test_missing_folder(capsys, tmp_path):
    code, sentence = run(capsys, "reconstruct", tmp_path / "nowhere", tmp_path / "out")
    assert code == 1 and "nowhere" in sentence
    assert not (tmp_path / "out").exists()


def test_empty_folder(capsys, tmp_path):
    (tmp_path / "photos").mkdir()
    code, sentence = run(capsys, "reconstruct", tmp_path / "photos", tmp_path / "out")
    assert code == 1 and "photograph" in sentence


def test_one_photograph_names_the_predictors_that_can_use_it(capsys, photos, tmp_path):
    for path in sorted(photos.iterdir())[1:]:
        path.unlink()
    code, sentence = run(capsys, "reconstruct", photos, tmp_path / "out")
    assert code == 1 and "dust3r-512-dpt" in sentence


def test_two_identical_photographs(capsys, photos, tmp_path):
    first, *others = sorted(photos.iterdir())
    for path in others:
        path.unlink()
    shutil.copy(first, photos / "copy.jpg")
    code, sentence = run(capsys, "reconstruct", photos, tmp_path / "out")
    assert code == 1 and "same bytes" in sentence


@pytest.mark.slow
def test_rubbish_among_photographs_is_left_out_by_name(capsys, photos, tmp_path):
    names = sorted(path.name for path in photos.iterdir())
    (photos / "notes.jpg").write_text("not a picture")
    (photos / "half.jpg").write_bytes((photos / names[0]).read_bytes()[:20000])
    Image.new("RGB", (1, 1)).save(photos / "dot.png")
    (photos / "Straße mit Übergang.JPG").write_bytes((photos / names[0]).read_bytes())
    (photos / names[0]).unlink()
    code, output = run(capsys, "reconstruct", photos, tmp_path / "out", *QUICK)
    assert code == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert set(record["photographs"]["dropped"]) == {"notes.jpg", "half.jpg", "dot.png"}
    assert "notes.jpg" in output
    reconstruction = pycolmap.Reconstruction(str(tmp_path / "out" / "sparse" / "0"))
    assert "Straße mit Übergang.JPG" in {image.name for image in reconstruction.images.values()}
    code, sentence = run(capsys, "reconstruct", photos, tmp_path / "strict", "--strict", *QUICK)
    assert code == 1 and any(name in sentence for name in ("notes.jpg", "half.jpg", "dot.png"))


@pytest.mark.slow
def test_other_formats_are_converted_for_colmap(capsys, photos, tmp_path):
    first, second, *_ = sorted(photos.iterdir())
    with Image.open(first) as picture:
        picture.save(first.with_suffix(".webp"), quality=95, exif=picture.getexif())
    first.unlink()
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    with Image.open(second) as picture:
        picture.save(second.with_suffix(".heic"), quality=95)
    second.unlink()
    code, _ = run(capsys, "reconstruct", photos, tmp_path / "out", *QUICK)
    assert code == 0
    reconstruction = pycolmap.Reconstruction(str(tmp_path / "out" / "sparse" / "0"))
    assert reconstruction.num_images() == 5
    for image in reconstruction.images.values():
        bitmap = pycolmap.Bitmap.read(str(tmp_path / "out" / "dense" / "images" / image.name), as_rgb=True)
        assert bitmap is not None


@pytest.mark.slow
def test_two_halves_without_overlap_give_two_models(capsys, photos, tmp_path):
    sample(tmp_path / "other", num_views=3, size=(512, 384), seed=5)
    for path in sorted((tmp_path / "other" / "images").iterdir())[:3]:
        shutil.copy(path, photos / f"other {path.name}")
    code, output = run(capsys, "reconstruct", photos, tmp_path / "out", *QUICK)
    assert code == 0
    models = [pycolmap.Reconstruction(str(tmp_path / "out" / "sparse" / number)) for number in "01"]
    larger, smaller = ({image.name for image in model.images.values()} for model in models)
    assert len(larger) == 5 and not any(name.startswith("other") for name in larger)
    assert smaller == {f"other {path.name}" for path in sorted((tmp_path / "other" / "images").iterdir())[:3]}
    assert "another model" in output


def test_pure_rotation_is_a_sentence(capsys, photos, tmp_path):
    import cv2

    from dust3r_sfm.images.read import read_images
    from dust3r_sfm.options import ImageOptions

    first, *others = sorted(photos.iterdir())
    for path in others:
        path.unlink()
    (view,) = read_images(photos, ImageOptions()).views
    with Image.open(first) as file:
        picture, exif = np.asarray(file), file.getexif()
    intrinsics = np.array([[view.focal_prior, 0, view.size[0] / 2], [0, view.focal_prior, view.size[1] / 2], [0, 0, 1]])
    for degrees in (4, 8):
        rotation = cv2.Rodrigues(np.array([0.0, np.radians(degrees), 0.0]))[0]
        turned = cv2.warpPerspective(picture, intrinsics @ rotation @ np.linalg.inv(intrinsics), view.size)
        Image.fromarray(turned).save(photos / f"turned {degrees}.jpg", quality=95, exif=exif)
    code, sentence = run(capsys, "reconstruct", photos, tmp_path / "out")
    assert code == 1 and "taken from one place" in sentence


@pytest.mark.slow
def test_a_folder_with_another_run_is_refused_or_overwritten(capsys, photos, tmp_path):
    out = tmp_path / "out"
    assert run(capsys, "reconstruct", photos, out, *QUICK)[0] == 0
    code, sentence = run(capsys, "reconstruct", photos, out, "--match-stride", "9", *QUICK)
    assert code == 1 and "match stride was 6, is now 9" in sentence and "--overwrite" in sentence
    predictions = (out / "predictions.h5").stat().st_mtime_ns
    assert run(capsys, "reconstruct", photos, out, "--match-stride", "9", "--overwrite", *QUICK)[0] == 0
    assert (out / "predictions.h5").stat().st_mtime_ns == predictions


def test_a_foreign_folder_is_refused(capsys, photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    code, sentence = run(capsys, "reconstruct", photos, out)
    assert code == 1 and "not empty" in sentence


def test_unknown_predictor(capsys, photos, tmp_path):
    code, sentence = run(capsys, "reconstruct", photos, tmp_path / "out", "--predictor", "clasical")
    assert code == 1 and "classical" in sentence


def test_wrong_usage_is_exit_code_2(tmp_path):
    with pytest.raises(SystemExit) as stop:
        main(["reconstruct", str(tmp_path)])
    assert stop.value.code == 2
