import shutil

import pytest

from dust3r_sfm.runs.next_steps import next_steps
from dust3r_sfm.system._pycolmap import pycolmap


@pytest.mark.parametrize(
    ("programs", "has_cuda", "expected"),
    [
        ({"colmap", "nvidia-smi"}, False, "colmap patch_match_stereo --workspace_path '{out}/dense'"),
        ({"colmap"}, False, "dust3r-sfm densify '{out}'"),
        (set(), True, "dust3r-sfm densify --patch-match '{out}'"),
        (set(), False, "dust3r-sfm densify '{out}'"),
    ],
)
def test_only_what_works_here(tmp_path, monkeypatch, programs, has_cuda, expected):
    out = tmp_path / "my out"
    (out / "dense_pointmaps").mkdir(parents=True)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in programs else None)
    monkeypatch.setattr(pycolmap, "has_cuda", has_cuda)
    dense, look = next_steps(out)
    assert dense.endswith(f" {expected.format(out=out)}")
    assert look.endswith(f" dust3r-sfm view '{out}'")


def test_without_depth_maps_there_is_nothing_to_fuse(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert [line.split()[0] for line in next_steps(tmp_path)] == ["look"]
