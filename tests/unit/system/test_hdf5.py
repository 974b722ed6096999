"""HDF5 files: a sentence for whatever is wrong with them, arrays only under their mark."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.system.hdf5 import open_or_say, read_arrays, write_arrays


@pytest.mark.parametrize(
    ("content", "ask", "words"),
    [
        (None, "a", "There is no scene file"),
        (b"text", "a", r"x\.h5 is damaged or no scene file; make it again\."),
        ("whole", "b", r"x\.h5 is damaged or no scene file; make it again\."),
    ],
    ids=["missing", "no HDF5", "lacks a dataset"],
)
def test_whatever_is_wrong_becomes_a_sentence(tmp_path: Path, content: bytes | str | None, ask: str, words: str):
    path = tmp_path / "x.h5"
    if content == "whole":
        with h5py.File(path, "w") as h5:
            h5["a"] = np.zeros(3)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(InputError, match=words), open_or_say(path, "scene file", "make it again") as h5:
        h5[ask][()]


def test_our_own_sentences_pass_through(tmp_path: Path):
    with h5py.File(tmp_path / "x.h5", "w") as h5:
        h5["a"] = 1
    with pytest.raises(InputError, match="of another kind"), open_or_say(tmp_path / "x.h5", "scene", "try"):
        raise InputError("of another kind")


def test_arrays_come_back_under_their_mark_only(tmp_path: Path):
    path, arrays = tmp_path / "folder" / "x.h5", {"a": np.arange(6).reshape(2, 3), "b": np.float16([0.5])}
    assert read_arrays(path, "one") is None
    write_arrays(path, "one", arrays)
    found = read_arrays(path, "one")
    assert found is not None and sorted(found) == ["a", "b"]
    assert all(np.array_equal(found[name], arrays[name]) and found[name].dtype == arrays[name].dtype for name in arrays)
    assert read_arrays(path, "two") is None
    path.write_bytes(path.read_bytes()[:100])
    assert read_arrays(path, "one") is None
