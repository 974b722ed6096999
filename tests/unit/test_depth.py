"""The verb `depth`: its files, its index, and what a second run does again."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm import depth as depth_module
from dust3r_sfm.cli import main
from dust3r_sfm.depth import DepthSummary, estimate_depth
from dust3r_sfm.errors import InputError, OutputError, ReconstructionError
from dust3r_sfm.evaluation.depth import depth_in_image
from dust3r_sfm.options import OutputOptions, PredictorOptions

SIZES = {"a.jpg": (320, 240), "sub/b ü.png": (240, 320), "c.png": (300, 300)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for seed, (name, size) in enumerate(SIZES.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / name)
    return folder


@pytest.fixture
def options(small_weights: Path) -> PredictorOptions:
    return PredictorOptions(predictor="dust3r-224-linear", weights=str(small_weights), device="cpu")


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the photographs that the network is asked about."""
    names: list[str] = []
    look = depth_module.monocular

    def noting(predictor, view):
        names.append(view.name)
        return look(predictor, view)

    monkeypatch.setattr(depth_module, "monocular", noting)
    return names


def test_every_photograph_has_its_files(photos: Path, tmp_path: Path, options: PredictorOptions) -> None:
    (photos / "notes.jpg").write_text("not a picture")
    out = tmp_path / "out"
    summary = estimate_depth(photos, out, predictor=options)
    index = json.loads((out / "depth.json").read_text(encoding="utf-8"))
    assert set(index["photographs"]) == set(SIZES) == set(summary.focals)
    assert index["predictor"]["licence"].startswith("unknown")
    assert index["predictor"]["source"]["sha256"] and index["unit"] is None
    assert set(summary.dropped) == {"notes.jpg"} == set(index["dropped"])
    for name, entry in index["photographs"].items():
        depth, confidence = (np.load(out / entry[kind]) for kind in ("depth", "confidence"))
        assert depth.dtype == confidence.dtype == np.float32 and depth.shape == (224, 224)
        assert (depth > 0).any() and (confidence[depth == 0] == 1).all()
        with Image.open(out / entry["preview"]) as preview:
            assert preview.size == (224, 224) and preview.mode == "RGB"
        assert entry["depth"] == f"depth/{name}.npy" and tuple(entry["size"]) == SIZES[name]
        image = depth_in_image(depth, np.array(entry["network_from_image"]), SIZES[name])
        assert image.shape == SIZES[name][::-1] and (image > 0).any()
        assert summary.focals[name] == entry["focal"] > 0
    assert "3 of 4 photographs" in str(summary) and "notes.jpg" in str(summary)


def test_a_second_run_does_what_is_missing_or_changed(
    photos: Path, tmp_path: Path, options: PredictorOptions, looked_at: list[str]
) -> None:
    out = tmp_path / "out"
    first = estimate_depth(photos, out, predictor=options)
    assert sorted(looked_at) == sorted(SIZES)
    kept = np.load(out / "depth" / "a.jpg.npy")
    looked_at.clear()
    assert estimate_depth(photos, out, predictor=options) == first and not looked_at
    (out / "preview" / "sub" / "b ü.png.png").unlink()
    Image.new("RGB", (300, 300), "red").save(photos / "c.png")
    again = estimate_depth(photos, out, predictor=options)
    assert looked_at == ["c.png", "sub/b ü.png"] and again.focals["a.jpg"] == first.focals["a.jpg"]
    np.testing.assert_array_equal(np.load(out / "depth" / "a.jpg.npy"), kept)
    looked_at.clear()
    (photos / "a.jpg").unlink()
    assert set(estimate_depth(photos, out, predictor=options).focals) == set(SIZES) - {"a.jpg"}


def test_an_interrupted_run_keeps_what_it_has(
    photos: Path, tmp_path: Path, options: PredictorOptions, looked_at: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    look = depth_module.monocular

    def interrupted(predictor, view):
        if len(looked_at) == 2:
            raise KeyboardInterrupt
        return look(predictor, view)

    with monkeypatch.context() as patch:
        patch.setattr(depth_module, "monocular", interrupted)
        with pytest.raises(KeyboardInterrupt):
            estimate_depth(photos, tmp_path / "out", predictor=options)
    done = looked_at.copy()
    looked_at.clear()
    estimate_depth(photos, tmp_path / "out", predictor=options)
    assert len(done) == 2 and sorted(done + looked_at) == sorted(SIZES)


def test_other_weights_and_foreign_folders_are_refused(
    photos: Path, tmp_path: Path, options: PredictorOptions, looked_at: list[str]
) -> None:
    out = tmp_path / "out"
    estimate_depth(photos, out, predictor=options)
    other = replace(options, predictor="dust3r-512-linear")
    for changed in (other, replace(options, precision="bfloat16")):
        with pytest.raises(OutputError, match="made with other weights or precision"):
            estimate_depth(photos, out, predictor=changed)
    looked_at.clear()
    estimate_depth(photos, out, predictor=other, run=OutputOptions(overwrite=True))
    assert len(looked_at) == 3 and np.load(out / "depth" / "a.jpg.npy").shape == (384, 512)
    (out / "depth.json").write_text("{")
    with pytest.raises(OutputError, match=r"depth\.json is damaged"):
        estimate_depth(photos, out, predictor=other)
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        estimate_depth(photos, foreign, predictor=options)
    with pytest.raises(InputError, match="inside each other"):
        estimate_depth(photos, photos / "out", predictor=options)


def test_the_command(photos: Path, tmp_path: Path, small_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(photos / "sub")
    arguments = ["depth", str(photos), str(tmp_path / "out"), "--predictor", "dust3r-224-linear"]
    assert main([*arguments, "--weights", str(small_weights), "--device", "cpu"]) == 0
    assert "depth               2 of 2 photographs" in capsys.readouterr().out
    assert main(["depth", str(photos), str(tmp_path / "other")]) == 1
    error = capsys.readouterr().err
    assert "'classical'" in error and "dust3r-512-dpt" in error and not (tmp_path / "other").exists()


def test_photographs_without_usable_depth_are_left_out(
    photos: Path, tmp_path: Path, options: PredictorOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = depth_module.monocular

    def blind(predictor, view, names=("c.png",)):
        prediction = look(predictor, view)
        unknown = np.ones_like(prediction.confidence1)
        return replace(prediction, confidence1=unknown) if view.name in names else prediction

    monkeypatch.setattr(depth_module, "monocular", blind)
    summary = estimate_depth(photos, tmp_path / "out", predictor=options)
    assert set(summary.focals) == set(SIZES) - {"c.png"} and "no usable depth" in summary.dropped["c.png"]
    monkeypatch.setattr(depth_module, "monocular", lambda predictor, view: blind(predictor, view, tuple(SIZES)))
    with pytest.raises(ReconstructionError, match="any photograph"):
        estimate_depth(photos, tmp_path / "none", predictor=options)


def test_a_summary_of_equal_focal_lengths_says_it_once() -> None:
    summary = DepthSummary(
        out=Path("OUT"), focals={"a": 500.0, "b": 500.0}, dropped={}, is_metric=True, predictor="p (l)"
    )
    assert "focal length        500.0 px\n" in str(summary) and "metres" in str(summary)
