"""What a pipeline measured beside what was published: one shape of JSON, and a table in Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dust3r_sfm.system.files import write_json, write_text

_FORMAT = "dust3r_sfm results 1"
_MOST_LISTED = 10
"""Missing parts that the table names; the JSON file has all. Chosen by hand."""

Figures = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Published:
    """Figures as a publication prints them, by column; columns that it lacks are left out."""

    method: str
    source: str
    figures: Figures


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that is said of a run.

    Attributes:
        pipeline: name of the benchmark.
        method: what the measured row is called.
        protocol: what a reader must know to compare: one sentence each.
        columns: of the table, in order.
        measured: the figures by column; a column without one shows a dash.
        groups: the same by category, scene or set, with counts.
        missing: what of the data set could not be used, and why.
        expected: how many parts the whole has; None where that is not known.
        published: rows to print above the measured one.
    """

    pipeline: str
    method: str
    protocol: Sequence[str]
    columns: Sequence[str]
    measured: Figures
    groups: Mapping[str, Figures] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    expected: int | None = None
    published: Sequence[Published] = ()

    @property
    def is_partial(self) -> bool:
        """Whether the figures are those of a part of the data set."""
        return bool(self.missing)


def write_report(out: Path, report: Report) -> str:
    """Write OUT/results.json and OUT/results.md.

    Returns:
        The Markdown text.
    """
    text = _markdown(report)
    write_json(
        out / "results.json",
        {
            "format": _FORMAT,
            "pipeline": report.pipeline,
            "method": report.method,
            "protocol": list(report.protocol),
            "partial": report.is_partial,
            "missing": dict(report.missing),
            "measured": dict(report.measured),
            "groups": {name: dict(figures) for name, figures in report.groups.items()},
            "published": [asdict(row) for row in report.published],
        },
    )
    write_text(out / "results.md", text)
    return text


def _markdown(report: Report) -> str:
    lines = [f"# {report.pipeline}", "", *(f"- {sentence}" for sentence in report.protocol), ""]
    if report.is_partial:
        lines += [_partial(report), ""]
        lines += [f"- {name}: {reason}" for name, reason in list(report.missing.items())[:_MOST_LISTED]]
        if len(report.missing) > _MOST_LISTED:
            lines.append(f"- and {len(report.missing) - _MOST_LISTED} more, in results.json")
        lines.append("")
    rows = [[row.method, *_cells(row.figures, report.columns), row.source] for row in report.published]
    name = f"**{report.method}**" + (" (partial)" if report.is_partial else "")
    rows.append([name, *_cells(report.measured, report.columns), "measured"])
    lines += markdown_table(["method", *report.columns, "source"], rows)
    if report.groups:
        columns = list(dict.fromkeys(column for figures in report.groups.values() for column in figures))
        rows = [[name, *_cells(figures, columns)] for name, figures in report.groups.items()]
        lines += ["", *markdown_table(["part", *columns], rows)]
    return "\n".join(lines) + "\n"


def _partial(report: Report) -> str:
    of = "" if report.expected is None else f" of {report.expected}"
    return f"**Partial**: {len(report.missing)}{of} parts are missing, so that the figures are not those of the table:"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _cells(figures: Figures, columns: Sequence[str]) -> list[str]:
    return [_cell(figures[column]) if column in figures else "-" for column in columns]


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.2f}".removesuffix("0")
