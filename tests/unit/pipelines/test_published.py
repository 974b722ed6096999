"""Published numbers have one source: the tables of the READMEs are those of published.py."""

from pathlib import Path

import pytest

import pipelines
from pipelines.cambridge import published as cambridge
from pipelines.co3d import published as co3d
from pipelines.mono_depth import published as mono_depth
from pipelines.realestate10k import published as realestate10k
from pipelines.seven_scenes import published as seven_scenes


def _rows(folder: str) -> list[list[str]]:
    """Cells of the table of published rows, without its head."""
    readme = (Path(pipelines.__file__).parent / folder / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Published")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]


@pytest.mark.parametrize(("folder", "published"), [("cambridge", cambridge), ("seven_scenes", seven_scenes)])
def test_the_readme_shows_what_the_command_prints(folder, published):
    cells = _rows(folder)
    expected = [[row.method, *(row.medians[scene] for scene in published.SCENES)] for row in published.PUBLISHED]
    assert cells[0][1:] == list(published.SCENES) and cells[2:] == expected


@pytest.mark.parametrize(
    ("folder", "published"), [("co3d", co3d.published), ("realestate10k", realestate10k.published)]
)
def test_the_readme_shows_the_rows_of_each_number_of_frames(folder, published):
    expected = [
        [str(num_frames), row.method, *map(str, row.figures.values()), row.source]
        for num_frames in (10, 5, 3)
        for row in published(num_frames)
    ]
    assert _rows(folder)[2:] == expected


def test_the_readme_of_monocular_depth_shows_all_rows() -> None:
    head, _, *shown = _rows("mono_depth")
    assert head[1:] == list(mono_depth.SETS)
    pairs = [
        [tuple(row.figures.get(column) for column in mono_depth.columns(name)) for name in mono_depth.SETS]
        for row in mono_depth.PUBLISHED
    ]
    expected = [["-" if None in pair else "/".join(f"{value:.2f}" for value in pair) for pair in row] for row in pairs]
    assert shown == [[row.method, *cells] for row, cells in zip(mono_depth.PUBLISHED, expected, strict=True)]
