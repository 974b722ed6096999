"""Medians beside published ones, recalls, and both as a JSON file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dust3r_sfm.evaluation.localization import DUST3R_THRESHOLDS, HLOC_THRESHOLDS, OUR_THRESHOLDS, LocalizationErrors
from dust3r_sfm.system.files import write_json, write_text

_THRESHOLDS = sorted({*HLOC_THRESHOLDS, *DUST3R_THRESHOLDS, *OUR_THRESHOLDS})
"""All thresholds of the tables."""


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """Medians as a publication prints them.

    Attributes:
        method: of the row.
        source: where it was printed.
        medians: centimetres/degrees by scene, as text.
    """

    method: str
    source: str
    medians: Mapping[str, str]


def published_row(method: str, source: str, scenes: Sequence[str], medians: str) -> PublishedRow:
    """A row from the text of its table: medians of the scenes in order, parted by blanks."""
    return PublishedRow(method=method, source=source, medians=dict(zip(scenes, medians.split(), strict=False)))


def write_tables(
    outputs: Path,
    stem: str,
    method: str,
    measured: Mapping[str, LocalizationErrors],
    published: Sequence[PublishedRow],
) -> str:
    """Write OUTPUTS/STEM.txt, a table to read, and OUTPUTS/STEM.json with the same numbers and the errors by query.

    Args:
        outputs: folder.
        stem: of the files.
        method: what the measured row is called.
        measured: errors by scene, metres and degrees.
        published: rows to print above it.

    Returns:
        The table.
    """
    rows = [[row.method, *(row.medians.get(scene, "-") for scene in measured)] for row in published]
    ours = [method, *(_median(errors) for errors in measured.values())]
    text = "Median error, cm/degrees; a query without a pose is infinitely far.\n"
    text += _table([["method", *measured], *rows, ours]) + "\n"
    text += f"Queries within distance and angle, percent ({method}).\n"
    text += _table(
        [["scene", *(f"{distance * 100:g}cm,{angle:g}" for distance, angle in _THRESHOLDS), "localized"]]
        + [
            [
                scene,
                *(f"{errors.recall[key]:.1f}" for key in _THRESHOLDS),
                f"{errors.num_localized}/{errors.num_queries}",
            ]
            for scene, errors in measured.items()
        ]
    )
    write_text(outputs / f"{stem}.txt", text)
    write_json(
        outputs / f"{stem}.json",
        {
            "method": method,
            "measured": {scene: _record(errors) for scene, errors in measured.items()},
            "published": [{"method": r.method, "source": r.source, "medians": r.medians} for r in published],
        },
    )
    return text


def _record(errors: LocalizationErrors) -> dict[str, Any]:
    by_query = {
        name: {"translation": _finite(errors.translation[name]), "rotation_deg": errors.rotation[name]}
        for name in errors.translation
    }
    return {name: _finite(value) for name, value in errors.rows().items()} | {"errors": by_query}


def _finite(value: float) -> float | None:
    """JSON knows no infinity."""
    return value if value < float("inf") else None


def _median(errors: LocalizationErrors) -> str:
    return f"{errors.median_translation * 100:.1f}/{errors.median_rotation:.2f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )
    return "\n".join(lines) + "\n"
