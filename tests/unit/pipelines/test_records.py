"""What a killed run leaves, and the one shape of results."""

import json

import pytest

from dust3r_sfm.errors import OutputError
from pipelines import records as records_module
from pipelines.records import Records
from pipelines.report import Published, Report, write_report


def test_a_killed_run_leaves_what_it_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(records_module, "_MAX_UNSAVED_SECONDS", 0.0)
    Records(tmp_path, {"seed": 0}).add("a", {"error": 1.5})  # and no more: nothing is saved at the end
    again = Records(tmp_path, {"seed": 0})
    assert "a" in again and again.samples == {"a": {"error": 1.5}} and "b" not in again


def test_an_error_leaves_what_was_measured_before_it(tmp_path):
    records = Records(tmp_path, {"seed": 0})
    with pytest.raises(KeyboardInterrupt), records.saving():
        records.add("a", None)
        raise KeyboardInterrupt
    assert Records(tmp_path, {"seed": 0}).samples == {"a": None}
    with pytest.raises(OutputError, match=r"other options \(seed, way\)"):
        Records(tmp_path, {"seed": 1, "way": "pnp"})
    assert Records(tmp_path, {"seed": 1}, overwrite=True).samples == {}


def test_the_report_says_what_is_missing_and_what_was_published(tmp_path):
    report = Report(
        pipeline="Set",
        method="ours",
        protocol=("All pairs.",),
        columns=("A", "B"),
        measured={"A": 12.345},
        groups={"one": {"pairs": 3, "A": 12.345}},
        missing={f"part{index}": "gone" for index in range(12)},
        expected=20,
        published=[Published(method="theirs", source="a paper", figures={"A": 7.0, "B": 8.25})],
    )
    text = write_report(tmp_path, report)
    assert text == (tmp_path / "results.md").read_text()
    for line in (
        "| theirs | 7.0 | 8.25 | a paper |",
        "| **ours** (partial) | 12.35 | - | measured |",
        "| one | 3 | 12.35 |",
        "- part9: gone",
        "- and 2 more, in results.json",
    ):
        assert line in text.splitlines()
    assert "12 of 20 parts are missing" in text and "part10" not in text
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["partial"] and len(content["missing"]) == 12 and content["measured"] == {"A": 12.345}
    assert content["published"] == [{"method": "theirs", "source": "a paper", "figures": {"A": 7.0, "B": 8.25}}]
