"""Every stored result says what was run, when, on which code and on which machine."""

import datetime
import json
import re
from pathlib import Path

import pytest

from benchmarks import common

STORED = sorted(common.RESULTS.glob("*.json"))


def test_there_are_results() -> None:
    assert len(STORED) >= 5


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_result_has_the_shape_of_a_record(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    assert list(record) == ["about", "rows"]
    run = record["about"]
    assert run.keys() >= set(common.ABOUT)
    script, *_ = re.findall(r"^python (benchmarks/[\w/]+\.py)(?: |$)", run["command"])
    assert (common.ROOT / script).is_file()
    assert re.fullmatch(r"\w+", run["machine"])
    assert run["cores"] > 0
    assert record["rows"]
    for row in (run, *record["rows"]):
        datetime.date.fromisoformat(row.get("date", run["date"]))
        assert re.fullmatch("[0-9a-f]{7,40}", row.get("commit", run["commit"]))


def test_a_stored_result_names_no_path_of_a_machine() -> None:
    for path in STORED:
        assert not re.findall(r'[" ](?:/|~)\w+/', path.read_text(encoding="utf-8")), path


def test_a_written_record_is_read_again(tmp_path: Path) -> None:
    rows = [{"set": "größer", "auc1": 92.5}, common.stamped({"set": "b", "nested": {"a": [1, 2]}})]
    common.write_record(tmp_path / "x.json", rows, common.about(threads=1))
    assert common.read_rows(tmp_path / "x.json") == rows
    run = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["about"]
    assert tuple(run) == (*common.ABOUT, "threads")
    assert run["date"] == rows[1]["date"] == common.today()


def test_no_record_has_no_rows(tmp_path: Path) -> None:
    assert common.read_rows(tmp_path / "absent.json") == []


def test_a_command_keeps_no_absolute_path() -> None:
    arguments = ["/somewhere/benchmarks/pairs.py", "mini=best", "--out", "/somewhere/else/out/", "--pairs", "6"]
    assert common.command(arguments) == "python benchmarks/pairs.py mini=best --out out --pairs 6"
