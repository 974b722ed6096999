"""The record that every benchmark writes: what was run, when, on which code and machine, and rows of figures."""

import datetime
import functools
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dust3r_sfm.system.files import write_text

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("DUST3R_SFM_DATA", ROOT.parent / "shared" / "data"))
"""Photographs with known cameras: SET/images and SET/poses.json."""
RESULTS = ROOT / "benchmarks" / "results"
ABOUT = ("command", "date", "commit", "machine", "cores")
"""What a record says of its run, at least."""

Row = dict[str, Any]


def about(**facts: Any) -> Row:
    """What a record says of this run.

    Args:
        facts: more of it: threads, device, version of torch.
    """
    run = (command(sys.argv), today(), commit(), platform.machine(), os.cpu_count())
    return dict(zip(ABOUT, run, strict=True)) | facts


def command(arguments: Sequence[str]) -> str:
    """The command line without paths of this machine: of an absolute path, the last part is kept."""
    words = (word.rstrip("/").rpartition("/")[2] if word.startswith("/") else word for word in arguments[1:])
    return " ".join(["python", f"benchmarks/{Path(arguments[0]).name}", *words])


def today() -> str:
    """The date as 2026-11-28."""
    return datetime.date.today().isoformat()


@functools.cache
def commit() -> str:
    """The code that this process runs: it is asked for once, because others may go on meanwhile."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def stamped(row: Mapping[str, Any]) -> Row:
    """A row that says its own date and commit, for records whose rows come from several runs."""
    return {"date": today(), "commit": commit()} | dict(row)


def read_rows(path: Path) -> list[Row]:
    """The rows of a record; none where there is no file."""
    return list(json.loads(path.read_text(encoding="utf-8"))["rows"]) if path.is_file() else []


def write_record(path: Path, rows: Iterable[Mapping[str, Any]], run: Mapping[str, Any] | None = None) -> None:
    """Write a record, a row a line.

    Args:
        path: the file.
        rows: figures.
        run: what `about` said; asked now by default.
    """
    lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
    head = json.dumps(run or about(), ensure_ascii=False)
    write_text(path, f'{{\n "about": {head},\n "rows": [\n{lines}\n ]\n}}\n')
