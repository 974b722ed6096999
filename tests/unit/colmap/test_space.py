"""A disk without space is an error in a sentence, not a file that is cut off."""

import errno
from pathlib import Path
from typing import Any

import pytest

from dust3r_sfm.colmap.database import write_database
from dust3r_sfm.colmap.model import reconstruction_from_scene, write_model
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.errors import OutputError


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the probe fail as it does on a full disk."""

    def write_bytes(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("what", ["model", "database", "workspace"])
def test_nothing_is_left_and_the_old_output_stays(room: Any, photos: Path, tmp_path: Path, what: str) -> None:
    model = reconstruction_from_scene(room.scene, room.tracks([]))
    out = tmp_path / "out"
    (out / "dense").mkdir(parents=True)
    (out / "dense" / "old").touch()
    with pytest.raises(OutputError, match="disk is full"):
        if what == "model":
            write_model(model, out / "0")
        elif what == "database":
            write_database(out / "database.db", model, [])
        else:
            write_workspace(out, model, photos, overwrite=True)
    assert [str(path.relative_to(out)) for path in sorted(out.rglob("*"))] == ["dense", "dense/old"]
