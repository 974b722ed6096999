"""Lists as editors of Windows save them: a byte order mark, UTF-16, carriage returns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dust3r_sfm.evaluation.localization import read_results
from dust3r_sfm.images.find import find_photographs
from dust3r_sfm.localization.hloc_files import read_retrieval
from dust3r_sfm.localization.queries import read_query_list
from dust3r_sfm.pairs.graph import read_pairs

NAMES = ("a.jpg", "b.jpg")
READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "pairs": ("a.jpg b.jpg\n", lambda path: read_pairs(path, NAMES).edges.tolist()),
    "retrieval": ("a.jpg b.jpg\n", lambda path: read_retrieval(path, NAMES)),
    "results": (
        "a.jpg 1 0 0 0 1 2 3\n",
        lambda path: {name: pose.tolist() for name, pose in read_results(path).items()},
    ),
    "queries": ("a.jpg\nb.jpg PINHOLE 64 48 50 50 32 24\n", read_query_list),
    "photographs": ("a.jpg\n", find_photographs),
}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("kind", READERS)
def test_a_mark_changes_nothing(tmp_path: Path, kind: str, encoding: str) -> None:
    content, read = READERS[kind]
    (tmp_path / "a.jpg").touch()
    path = tmp_path / "list.txt"
    path.write_text(content, encoding="utf-8")
    plain = read(path)
    path.write_bytes(content.replace("\n", "\r\n").encode(encoding))
    assert read(path) == plain
