"""Files count by their content, and are read once."""

import os
from pathlib import Path

import pytest

from dust3r_sfm.system import digest as digest_module
from dust3r_sfm.system.digest import contents, contents_of, digest, recall, remember


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_module, "_known", {})


def test_equal_sizes_and_times_are_not_equal_files(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first, times = digest(path), path.stat().st_mtime_ns
    path.write_bytes(b"two")
    os.utime(path, ns=(times, times))
    assert digest(path) != first
    path.write_bytes(b"one")
    assert digest(path) == first


def test_a_file_is_read_once_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_module, "_SETTLED_SECONDS", -1.0)
    path, out = tmp_path / "a", tmp_path / "out"
    path.write_bytes(b"one")
    first = digest(path)
    remember(out)
    monkeypatch.setattr(digest_module, "_known", {})
    recall(out)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it is read again"))
    assert digest(path) == first


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": [["x"], 1]}'])
def test_a_damaged_memory_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "digests.json").write_text(text)
    recall(tmp_path)


def test_folders_and_options(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a").write_text("a")
    first = contents(folder)
    (folder / "sub" / "a").write_text("b")
    assert contents(folder) != first
    options = {"file": folder / "sub" / "a", "none": None, "gone": tmp_path / "gone", "other": 1}
    found = contents_of(options, ("file", "none", "gone"))
    assert found == options | {"file": digest(folder / "sub" / "a")}
