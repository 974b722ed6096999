"""Names of others stay inside a folder."""

from pathlib import Path

import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.system.names import path_inside, refuse_unsafe_name


@pytest.mark.parametrize("name", ["", ".", "/a.jpg", "../a.jpg", "a/../../b.jpg", "..\\a.jpg", "C:\\a.jpg"])
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="leads out"):
        refuse_unsafe_name(name, Path("scene.h5"))


@pytest.mark.parametrize("name", ["a\nb.jpg", "a\tb.jpg", "\x1b[31m.jpg", "a\0.jpg", "a\u2028.jpg", "a\udcff.jpg"])
def test_names_that_no_line_holds_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="control characters"):
        refuse_unsafe_name(name, Path("scene.h5"))


def test_usual_names_pass(tmp_path: Path) -> None:
    for name in ("a.jpg", "a b/ü ö.jpg", "..a.jpg", "a..b/c.jpg"):
        refuse_unsafe_name(name, tmp_path)
        assert path_inside(tmp_path, name) == tmp_path / name


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    for name in ("../a.jpg", str(tmp_path / "a.jpg"), "link/a.jpg"):
        with pytest.raises(InputError, match="outside"):
            path_inside(tmp_path / "out", name)
