"""Tables that people type or export: CSV with a line of heads, in any of the usual separators."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dust3r_sfm.errors import InputError
from dust3r_sfm.system.text import read_text


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table.

    Attributes:
        path: of the table.
        line: its number, from 1.
        cells: what it holds, by head.
    """

    path: Path
    line: int
    cells: Mapping[str, str]

    def number(self, head: str) -> float:
        """A finite number.

        Raises:
            InputError: it is none.
        """
        try:
            value = float(self.cells[head])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(
                f"Line {self.line} of {self.path} has '{self.cells[head]}' for {head}, which is not a number.",
                path=self.path,
            )
        return value


def read_table(path: Path, heads: Sequence[Sequence[str]], optional: Sequence[str], what: str) -> list[Row]:
    """Read a table whose first line names its columns.

    Args:
        path: of the file.
        heads: the sets of columns that it may have.
        optional: columns that it may have besides.
        what: it holds, for sentences.

    Raises:
        InputError: it cannot be read, has other columns, or a line of another length.
    """
    expected = " or ".join(",".join(names) for names in heads) + "".join(f"[,{name}]" for name in optional)
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as a table of {what}; give a CSV file in UTF-8 or UTF-16.", path=path
        ) from error
    lines = text.splitlines()
    separator = next((mark for mark in (";", "\t", ",") if mark in next(iter(lines), "")), ",")
    found = [name.strip().lower() for name in next(csv.reader(lines[:1], delimiter=separator), [])]
    if len(set(found)) < len(found) or not any(set(names) <= set(found) <= {*names, *optional} for names in heads):
        raise InputError(f"The first line of {path} must name its columns: {expected}.", path=path)
    rows = []
    for line, cells in enumerate(csv.reader(lines[1:], delimiter=separator), start=2):
        if not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#"):
            continue
        if len(cells) != len(found):
            raise InputError(
                f"Line {line} of {path} has {len(cells)} cells and the first line {len(found)}; write {expected}.",
                path=path,
            )
        rows.append(Row(path=path, line=line, cells=dict(zip(found, (cell.strip() for cell in cells), strict=True))))
    if not rows:
        raise InputError(f"{path} holds no {what}; write one a line below {expected}.", path=path)
    return rows
