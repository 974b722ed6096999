"""log.csv and its plot: one row every so many steps and one per validation."""

import csv
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from dust3r_sfm.system.files import write_text

_SIZE_PX, _MARGIN_PX = (900, 420), 50
"""Of the plot: chosen by hand."""


class Log:
    """Rows of numbers appended to a CSV file; a resumed run drops what lies after its checkpoint.

    Args:
        path: the file; its columns are those of `COLUMNS`.
        position: (epoch, step) that the run goes on from.
    """

    COLUMNS = ("epoch", "step", "kind", "loss", "rate", "pairs_per_second", "waiting", "details")

    def __init__(self, path: Path, position: tuple[int, int]) -> None:
        self._path = path
        rows = (
            [row for row in self.rows() if (int(row["epoch"]), int(row["step"])) <= position] if any(position) else []
        )
        text = ",".join(self.COLUMNS) + "\n"
        write_text(path, text + "".join(self._line(row) for row in rows))

    def add(self, **row: Any) -> None:
        """Append a row; columns that are not given stay empty."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(self._line(row))
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> list[dict[str, str]]:
        """All whole rows so far."""
        if not self._path.is_file():
            return []
        with self._path.open(encoding="utf-8", newline="") as file:
            return [row for row in csv.DictReader(file) if row["details"] is not None]

    def _line(self, row: dict[str, Any]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self.COLUMNS, restval="", lineterminator="\n").writerow(row)
        return text.getvalue()

    def plot(self, path: Path) -> None:
        """Draw the losses over the epochs as an SVG file."""
        rows = self.rows()
        curves = {
            kind: np.array([[float(row["moment"]), float(row["loss"])] for row in _with_moments(rows, kind)])
            for kind in ("train", "validation")
        }
        drawn = {kind: curve for kind, curve in curves.items() if len(curve) > 1}
        if drawn:
            write_text(path, _svg(drawn))


def _with_moments(rows: list[dict[str, str]], kind: str) -> list[dict[str, Any]]:
    """Rows of one kind, with the epoch as a fraction."""
    most = max((int(row["step"]) for row in rows), default=0) or 1
    return [row | {"moment": int(row["epoch"]) + int(row["step"]) / most} for row in rows if row["kind"] == kind]


def _svg(curves: dict[str, np.ndarray]) -> str:
    width, height = _SIZE_PX
    everything = np.concatenate(list(curves.values()))
    low, high = everything.min(axis=0), everything.max(axis=0)
    scale = (np.array([width, -height]) - np.array([2, -2]) * _MARGIN_PX) / np.maximum(high - low, 1e-9)
    colours = {"train": "#2563a8", "validation": "#c2410c"}
    lines = []
    for row, (kind, curve) in enumerate(curves.items()):
        points = (curve - low) * scale + np.array([_MARGIN_PX, height - _MARGIN_PX])
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        lines.append(f'<polyline fill="none" stroke="{colours[kind]}" points="{text}"/>')
        lines.append(f'<text x="{width - 140}" y="{20 + 18 * row}" fill="{colours[kind]}">{kind}</text>')
    axes = (
        f'<text x="{_MARGIN_PX}" y="{height - 15}">epoch {low[0]:g}</text>'
        f'<text x="{width - 120}" y="{height - 15}">epoch {high[0]:g}</text>'
        f'<text x="4" y="{_MARGIN_PX}">{high[1]:.3g}</text><text x="4" y="{height - _MARGIN_PX}">{low[1]:.3g}</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="13"><rect width="100%" height="100%" fill="#fff"/>{axes}{"".join(lines)}</svg>\n'
    )
