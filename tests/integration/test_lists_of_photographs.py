"""Photographs of several folders in one run, as a list in Python and as a text file on the command line."""

import json
import shutil

import pytest

from dust3r_sfm import InputError, reconstruct
from dust3r_sfm.cli import main


@pytest.fixture
def listed(sample_folder, tmp_path):
    """Four photographs in two folders."""
    files = []
    for number, path in enumerate(sorted((sample_folder / "images").iterdir())[:4]):
        files.append(tmp_path / "photos" / ("morning", "evening")[number % 2] / path.name)
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, files[-1])
    return files


def test_a_list_is_one_run(listed, tmp_path):
    out = tmp_path / "out"
    reconstruct(listed, out, until="pairs")
    names = sorted(path.relative_to(tmp_path / "photos").as_posix() for path in listed)
    pairs = [tuple(line.split()) for line in (out / "pairs.txt").read_text().splitlines()]
    assert pairs == [(first, second) for i, first in enumerate(names) for second in names[i + 1 :]]
    photographs = json.loads((out / "run.json").read_text())["photographs"]
    assert photographs["used"] == names and photographs["root"] == str((tmp_path / "photos").resolve())

    # The text file and the folder mean the same photographs, so the same run.
    (tmp_path / "list.txt").write_text("".join(f"{path.relative_to(tmp_path)}\n" for path in listed))
    for photos in ("list.txt", "photos"):
        assert main(["pairs", str(tmp_path / photos), str(out)]) == 0


def test_the_output_may_not_hold_a_photograph_of_the_list(listed, tmp_path):
    with pytest.raises(InputError, match="lie inside each other"):
        reconstruct(listed, tmp_path / "photos" / "morning", until="pairs")


def test_one_photograph_of_a_list_is_too_few(listed, tmp_path):
    with pytest.raises(InputError, match=r"morning holds one usable photograph \(courtyard_00\.jpg\)"):
        reconstruct(listed[:1], tmp_path / "out")
