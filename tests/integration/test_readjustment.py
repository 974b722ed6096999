"""A plain bundle adjustment by COLMAP's defaults does not make exported cameras worse."""

import json
import shutil
from pathlib import Path

import pytest

from dust3r_sfm.evaluation.poses import evaluate_poses
from dust3r_sfm.reconstruct import reconstruct
from dust3r_sfm.system._pycolmap import pycolmap

NUM_PHOTOGRAPHS = 6
NOISE = 1.0
"""Points of AUC@1 by which a model of photographs may be lower afterwards: what seeds differ by."""


def readjusted(folder: Path, reference: Path) -> tuple[float, float, float]:
    """AUC@1 and AUC@5 of a model before, and AUC@1 after `colmap bundle_adjuster` at its defaults."""
    model = pycolmap.Reconstruction(str(folder))
    before = evaluate_poses(model, reference)
    pycolmap.bundle_adjustment(model, pycolmap.BundleAdjustmentOptions(print_summary=False))
    return before.auc[1], before.auc[5], evaluate_poses(model, reference).auc[1]


@pytest.mark.data
@pytest.mark.parametrize("name", ["strecha_herzjesu_p8", "sceaux_castle"])
def test_photographs(name: str, data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    poses = json.loads((data_root / name / "poses.json").read_text(encoding="utf-8"))
    reference = tmp_path / "poses.json"
    paths = sorted((data_root / name / "images").iterdir())[:NUM_PHOTOGRAPHS]
    reference.write_text(json.dumps({path.name: poses[path.name] for path in paths}), encoding="utf-8")
    for path in paths:
        shutil.copy(path, tmp_path / "photos")
    reconstruct(tmp_path / "photos", tmp_path / "out")
    before, _, after = readjusted(tmp_path / "out" / "sparse" / "0", reference)
    assert before > 80.0
    assert after > before - NOISE
    dense = pycolmap.Reconstruction(str(tmp_path / "out" / "dense" / "sparse" / "0"))
    lengths = [point.track.length() for point in dense.points3D.values()]
    assert len(lengths) > 10_000
    assert lengths.count(0) <= 50_000
    assert 1 not in lengths


def test_rendered_photographs(sample_folder: Path, tmp_path: Path) -> None:
    reconstruct(sample_folder / "images", tmp_path / "out")
    before, wide, after = readjusted(tmp_path / "out" / "sparse" / "0", sample_folder / "truth" / "poses.json")
    assert wide > 80.0
    assert after > before - 5.0  # 15 pairs: one of them is 7 points
