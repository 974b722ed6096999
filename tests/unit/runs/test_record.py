"""run.json: its form stays, and what is not known yet is not in it."""

import json

import pytest

from dust3r_sfm.errors import OutputError
from dust3r_sfm.runs.record import Facts, Photographs, RunRecord, StageRecord, read_record

OLD = {
    "stages": {
        "images": {"inputs": {"photographs": "abc", "masks": None}, "done": False},
        "pairs": {"inputs": {"window": 5}, "done": True, "seconds": 0.25},
    },
    "versions": {"dust3r_sfm": "0.1.0"},
    "predictor": {"name": "classical", "licence": "Apache-2.0"},
    "options": {"pairs": {"window": 5}},
    "photographs": {"root": "/photos", "used": ["a.jpg"], "dropped": {"b.jpg": "it is cut short"}},
    "warnings": [],
    "diagnosis": {"degrees": [1]},
    "refinement": "none",
    "findings": ["a.jpg sees too little."],
    "summary": {"num_points": 3},
}
"""As version 0.1.0 wrote it."""


def test_a_record_of_the_first_version_is_read_and_written_again(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(OLD | {"of a later version": 1}))
    record = read_record(tmp_path)
    assert record.stages["pairs"] == StageRecord(inputs={"window": 5}, done=True, seconds=0.25)
    assert record.photographs == Photographs(root="/photos", used=["a.jpg"], dropped={"b.jpg": "it is cut short"})
    again = record.as_json()
    assert again["photographs"].pop("bytes") == again["photographs"].pop("digests") == {} and again == OLD


def test_what_is_not_known_is_left_out():
    assert RunRecord().as_json() == {"stages": {}}
    record = RunRecord()
    record.note(Facts(warnings=[], refinement="keypoints"))
    record.note(Facts(num_points=0))
    assert record.as_json() == {"stages": {}, "warnings": [], "refinement": "keypoints", "num_points": 0}


@pytest.mark.parametrize(
    "text", ["[]", '{"stages": 3}', '{"stages": {"pairs": {"done": true}}}', '{"photographs": 3}', "{"]
)
def test_damage_is_a_sentence(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(OutputError, match=r"run\.json is damaged"):
        read_record(tmp_path)
