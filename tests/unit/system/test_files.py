import errno
import os

import pytest

from dust3r_sfm.errors import OutputError
from dust3r_sfm.system.files import atomic_path, remove_leftovers, set_default_mode, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "a" / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_replaces_a_folder(tmp_path):
    target = tmp_path / "folder"
    (target / "stale").mkdir(parents=True)
    with atomic_path(target) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("x")
    assert [entry.name for entry in target.iterdir()] == ["new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_full_disk_is_a_sentence_naming_the_file(tmp_path):
    with pytest.raises(OutputError, match=r"disk is full.*model\.bin"), atomic_path(tmp_path / "model.bin"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_other_os_errors_pass_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "x"):
        raise FileNotFoundError(errno.ENOENT, "gone")


def test_json_keeps_non_ascii_names(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Straße 1.jpg"})
    assert "Straße 1.jpg" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_private_file_gets_the_permissions_of_a_new_one(tmp_path, umask, mode):
    path = tmp_path / "weights"
    path.touch(mode=0o600)
    before = os.umask(umask)
    try:
        set_default_mode(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_disk_says_which_file(tmp_path):
    with pytest.raises(OutputError) as caught, atomic_path(tmp_path / "model.bin"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.path == tmp_path / "model.bin"


def test_leftovers_of_kills_go_and_nothing_else(tmp_path):
    ours = (
        *(".scene.h5.77-0123abcd.tmp", ".database.db.77-0123abcd.tmp-wal", ".database.db.77-0123abcd.tmp-shm"),
        *(".fused.ply.77-0123abcd.tmp.ply", ".fused.ply.77-0123abcd.tmp.ply.vis"),
    )
    theirs = ".notes.tmp", ".mine.7.tmpl.txt~", "a.77-0123abcd.tmp", "b.tmp"
    for name in (*ours, *theirs):
        (tmp_path / name).touch()
    (tmp_path / "sub" / ".dense.77-0123abcd.tmp" / "images").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*theirs, "sub"])
    assert not list((tmp_path / "sub").iterdir())


@pytest.mark.parametrize("code", [errno.EDQUOT, errno.EFBIG])
def test_a_quota_is_a_full_disk(tmp_path, code):
    with pytest.raises(OutputError, match="disk is full"), atomic_path(tmp_path / "x"):
        raise OSError(code, "no")
