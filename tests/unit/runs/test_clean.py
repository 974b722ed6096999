import json

import pytest

from dust3r_sfm.cli import main
from dust3r_sfm.errors import InputError
from dust3r_sfm.runs.clean import clean


def finished(out, done=True):
    (out / "matching").mkdir(parents=True)
    (out / "straightened" / "run").mkdir(parents=True)
    (out / "sparse" / "0").mkdir(parents=True)
    for name in ("predictions.h5", "features.h5", "matching/a.h5", "straightened/run/predictions.h5"):
        (out / name).write_bytes(bytes(1000))
    for name in ("scene.h5", "database.db", "sparse/0/points3D.bin", "predictions.txt"):
        (out / name).write_bytes(bytes(10))
    stage = {"inputs": {}, "done": done, "seconds": 1.0}
    stages = {"images": stage | {"done": False}, "export": stage}
    (out / "run.json").write_text(json.dumps({"stages": stages, "summary": {"num_points": 5}}))
    return out


def test_what_stages_hand_on_goes_and_the_model_stays(tmp_path, capsys):
    out = finished(tmp_path / "out")
    assert main(["clean", str(out), "--dry-run"]) == 0
    assert len(list(out.rglob("*.h5"))) == 5
    assert main(["clean", str(out)]) == 0
    assert "0.0 MB" in capsys.readouterr().out
    left = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert left == ["database.db", "features.h5", "predictions.txt", "run.json", "scene.h5", "sparse/0/points3D.bin"]
    assert clean(out) == {}


def test_sizes_are_those_of_the_disk(tmp_path):
    assert sum(clean(finished(tmp_path / "out"), dry_run=True).values()) == 3000


def test_a_run_that_would_go_on_is_left_alone(tmp_path):
    out = finished(tmp_path / "out", done=False)
    with pytest.raises(InputError, match="is not finished"):
        clean(out)
    (out / "run.json").unlink()
    with pytest.raises(InputError, match="no output folder"):
        clean(out)
    assert len(list(out.rglob("*.h5"))) == 5
