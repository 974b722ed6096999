"""Matches of other programs: either order of a pair, both separators, and clear refusals."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.features.features import Features
from dust3r_sfm.features.hloc_matches import read_hloc_matches

NAMES = ("a/0.jpg", "a/1.jpg", "b.jpg")
FEATURES = [
    Features(
        xy=np.arange(8.0).reshape(4, 2) + i,
        descriptors=np.zeros((4, 0), np.float32),
        scores=np.ones(4, np.float32),
    )
    for i in range(3)
]


def write(path: Path, groups: dict[str, list[int]], scores: bool = True) -> Path:
    with h5py.File(path, "w") as file:
        for key, partner in groups.items():
            file.create_group(key)["matches0"] = np.array(partner, np.int16)
            if scores:
                file[key]["matching_scores0"] = np.linspace(1, 0.5, len(partner)).astype(np.float16)
    return path


def test_either_order_and_separator(tmp_path: Path) -> None:
    path = write(tmp_path / "m.h5", {"a-0.jpg/a-1.jpg": [-1, 3, 0, -1], "b.jpg_a-0.jpg": [2, -1, -1, 1]})
    forward, turned = read_hloc_matches(path, NAMES, FEATURES)
    assert (forward.image1, forward.image2, turned.image1, turned.image2) == (0, 1, 0, 2)
    assert np.array_equal(forward.xy1, FEATURES[0].xy[[1, 2]]) and np.array_equal(forward.xy2, FEATURES[1].xy[[3, 0]])
    assert np.array_equal(turned.xy1, FEATURES[0].xy[[2, 1]]) and np.array_equal(turned.xy2, FEATURES[2].xy[[0, 3]])
    assert np.all(np.diff(forward.confidence) < 0)


def test_scores_are_optional(tmp_path: Path) -> None:
    path = write(tmp_path / "m.h5", {"a-1.jpg/b.jpg": [0, 1, 2, 3]}, scores=False)
    assert np.array_equal(read_hloc_matches(path, NAMES, FEATURES)[0].confidence, np.ones(4))


@pytest.mark.parametrize(
    ("groups", "words"),
    [({"x.jpg/y.jpg": [0]}, "no matches of these photographs"), ({"a-1.jpg/b.jpg": [9, -1]}, "does not have")],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, groups: dict[str, list[int]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_hloc_matches(write(tmp_path / "m.h5", groups), NAMES, FEATURES)


def test_no_file_of_matches(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_text("text")
    with pytest.raises(InputError, match="no HDF5"):
        read_hloc_matches(tmp_path / "m.h5", NAMES, FEATURES)
