"""The export command writes what is named, from the model of a run, and leaves other people's files alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dust3r_sfm.colmap.database import write_database
from dust3r_sfm.colmap.model import reconstruction_from_scene, write_model
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.export import WRITTEN, export, main
from dust3r_sfm.scene_file import write_scene


@pytest.fixture
def run(make_room: Callable[..., Any], tmp_path: Path) -> Path:
    """The output folder of a finished run, without its predictions."""
    room = make_room([((640, 480), 1)] * 3, names=["a.jpg", "b.jpg", "c.jpg"])
    for view in room.views:
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("RGB", view.size, (90, 120, 30)).save(tmp_path / "photos" / view.name)
    matches, out = room.matches(), tmp_path / "run"
    model = reconstruction_from_scene(room.scene, room.tracks(matches), matches)
    write_model(model, out / "sparse" / "0")
    write_database(out / "database.db", model, matches)
    write_workspace(out, model, tmp_path / "photos")
    write_scene(out / "scene.h5", room.scene)
    return out


def test_each_format_leaves_what_it_says(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert main([str(run), str(other), "--nerfstudio", "--ply", "--glb", "--hloc"]) == 0
    expected = {name for format_, names in WRITTEN.items() if format_ != "colmap" for name in names}
    assert {path.name for path in other.iterdir()} == expected
    assert sorted(path.name for path in (other / "nerfstudio").iterdir()) == ["images", "points.ply", "transforms.json"]


def test_smaller_pictures_lie_beside_the_others(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run), str(run), "--image-factors", "2", "8"]) == 0
    for factor, size in ((2, (320, 240)), (8, (80, 60))):
        folder = run / "dense" / f"images_{factor}"
        assert sorted(path.name for path in folder.iterdir()) == ["a.jpg", "b.jpg", "c.jpg"]
        for path in folder.iterdir():
            with Image.open(path) as picture:
                assert picture.size == size
    assert main([str(run), str(run), "--image-factors", "1"]) == 1
    assert "a factor is 2 or more" in capsys.readouterr().err


def test_formats_may_be_written_beside_the_run_again_and_again(run: Path) -> None:
    for _ in range(2):
        export(run, run, formats=("ply", "nerfstudio", "hloc"))
    assert (run / "points.ply").is_file()


def test_what_is_there_already_stays(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "other" / "points.ply"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert main([str(run), str(mine.parent), "--ply"]) == 1
    assert "points.ply is there already" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert main([str(run), str(mine.parent), "--ply", "--overwrite"]) == 0
    assert mine.read_bytes().startswith(b"ply")


def test_what_the_run_lacks_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run), str(tmp_path / "a")]) == 1
    assert "Name the format to export: --colmap, --nerfstudio" in capsys.readouterr().err
    (run / "dense" / "images" / "b.jpg").unlink()
    assert main([str(run), str(tmp_path / "a"), "--nerfstudio"]) == 1
    assert "b.jpg is missing" in capsys.readouterr().err
    assert not (tmp_path / "a" / "nerfstudio").exists()
    (run / "sparse").rename(run / "elsewhere")
    assert main([str(run), str(tmp_path / "a"), "--ply"]) == 1
    assert "holds no model yet" in capsys.readouterr().err
