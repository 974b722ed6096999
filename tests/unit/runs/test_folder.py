import json

import pytest

from dust3r_sfm.errors import OutputError
from dust3r_sfm.runs.folder import RunFolder
from dust3r_sfm.runs.record import Facts, read_record

ARTEFACTS = {
    "images": ("images",),
    "pairs": ("pairs.txt",),
    "predict": ("predictions*.h5*", "run.*-of-*.json"),
    "align": ("scene.h5",),
}
INPUTS = {"images": {"photographs": "abc"}, "pairs": {"window": 5}, "predict": {"predictor": "classical"}}


def finished(path, stages=("pairs", "predict")):
    run = RunFolder(path, INPUTS, ARTEFACTS)
    for stage, name in (("pairs", "pairs.txt"), ("predict", "predictions.h5")):
        if stage in stages:
            (path / name).write_text("made")
            run.finish(stage, 1.0)
    return run


def test_equal_inputs_reuse_finished_stages(tmp_path):
    finished(tmp_path / "out", stages=("pairs",))
    again = RunFolder(tmp_path / "out", INPUTS, ARTEFACTS)
    assert again.is_done("pairs")
    assert not again.is_done("predict")


def test_an_option_that_a_record_does_not_know_was_at_its_default(tmp_path):
    finished(tmp_path / "out")
    inputs = INPUTS | {"pairs": {"window": 5, "cyclic": False}}
    defaults = {"pairs": {"window": 9, "cyclic": False}}
    assert RunFolder(tmp_path / "out", inputs, ARTEFACTS, defaults=defaults).is_done("predict")
    with pytest.raises(OutputError, match="cyclic was off, is now on"):
        inputs = INPUTS | {"pairs": {"window": 5, "cyclic": True}}
        RunFolder(tmp_path / "out", inputs, ARTEFACTS, defaults=defaults)


def test_a_missing_file_undoes_a_stage(tmp_path):
    finished(tmp_path / "out")
    (tmp_path / "out" / "predictions.h5").unlink()
    assert not RunFolder(tmp_path / "out", INPUTS, ARTEFACTS).is_done("predict")


def test_other_options_are_refused_by_name(tmp_path):
    finished(tmp_path / "out")
    with pytest.raises(OutputError, match=r"window was 5, is now 7.*--overwrite"):
        RunFolder(tmp_path / "out", INPUTS | {"pairs": {"window": 7}}, ARTEFACTS)
    assert (tmp_path / "out" / "predictions.h5").exists()


def test_overwrite_keeps_what_still_holds(tmp_path):
    finished(tmp_path / "out")
    run = RunFolder(tmp_path / "out", INPUTS | {"predict": {"predictor": "oracle"}}, ARTEFACTS, overwrite=True)
    assert run.is_done("pairs")
    assert not run.is_done("predict")
    assert not (tmp_path / "out" / "predictions.h5").exists()


def test_what_a_finished_stage_found_out_is_in_the_record(tmp_path):
    run = finished(tmp_path / "out", stages=("pairs",))
    run.finish("pairs", 1.0, Facts(warnings=["a.jpg hangs on a single pair."]))
    run.finish("predict", 2.0, Facts())
    record = read_record(tmp_path / "out")
    assert record.warnings == ["a.jpg hangs on a single pair."] and record.stages["predict"].seconds == 2.0


def test_redoing_a_stage_invalidates_the_later_ones(tmp_path):
    run = finished(tmp_path / "out")
    run.finish("pairs", 1.0)
    assert not run.is_done("predict")


def test_a_foreign_folder_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        RunFolder(tmp_path, INPUTS, ARTEFACTS)
    RunFolder(tmp_path, INPUTS, ARTEFACTS, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_damaged_record_is_a_sentence(tmp_path):
    (tmp_path / "run.json").write_text("{half")
    with pytest.raises(OutputError, match=r"run\.json is damaged"):
        RunFolder(tmp_path, INPUTS, ARTEFACTS)


def test_fewer_stages_do_not_touch_the_later_ones(tmp_path):
    finished(tmp_path / "out")
    RunFolder(tmp_path / "out", {name: INPUTS[name] for name in ("images", "pairs")}, ARTEFACTS)
    assert RunFolder(tmp_path / "out", INPUTS, ARTEFACTS).is_done("predict")
    assert json.loads((tmp_path / "out" / "run.json").read_text())["stages"]["predict"]["done"]


SHARDS = ".1-of-2", ".2-of-2"


def test_shards_keep_their_own_records_and_share_the_pairs(tmp_path):
    first, second = (RunFolder(tmp_path / "out", INPUTS, ARTEFACTS, suffix=suffix) for suffix in SHARDS)
    assert not second.is_done("pairs")
    (tmp_path / "out" / "pairs.txt").write_text("made by the first")
    assert second.is_done("pairs") and not second.is_done("predict")
    for run in (first, second):
        run.finish("predict", 1.0)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "pairs.txt",
        "run.1-of-2.json",
        "run.2-of-2.json",
    ]


def test_a_whole_run_takes_over_from_shards_and_keeps_what_they_predicted(tmp_path):
    run = RunFolder(tmp_path / "out", INPUTS, ARTEFACTS, suffix=SHARDS[0])
    run.finish("pairs", 1.0)
    run.finish("predict", 1.0)
    for name in ("pairs.txt", "predictions.1-of-2.h5"):
        (tmp_path / "out" / name).write_text("made")
    whole = RunFolder(tmp_path / "out", INPUTS, ARTEFACTS)
    assert whole.is_done("pairs") and not whole.is_done("predict")
    whole.finish("predict", 1.0)
    assert RunFolder(tmp_path / "out", INPUTS, ARTEFACTS).is_done("predict")


def test_shards_of_another_run_are_refused_or_replaced(tmp_path):
    other = INPUTS | {"predict": {"predictor": "oracle"}}
    run = RunFolder(tmp_path / "out", INPUTS, ARTEFACTS, suffix=SHARDS[0])
    (tmp_path / "out" / "predictions.1-of-2.h5").write_text("made")
    run.finish("predict", 1.0)
    for suffix in ("", SHARDS[1]):
        with pytest.raises(OutputError, match="predictor was classical, is now oracle"):
            RunFolder(tmp_path / "out", other, ARTEFACTS, suffix=suffix)
    RunFolder(tmp_path / "out", other, ARTEFACTS, overwrite=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run.json"]


def test_a_shard_leaves_the_unfinished_files_of_others_alone(tmp_path):
    RunFolder(tmp_path / "out", INPUTS, ARTEFACTS, suffix=SHARDS[0])
    (tmp_path / "out" / ".predictions.1-of-2.h5.77.tmp").write_text("half")
    RunFolder(tmp_path / "out", INPUTS, ARTEFACTS, suffix=SHARDS[1])
    assert (tmp_path / "out" / ".predictions.1-of-2.h5.77.tmp").exists()
    RunFolder(tmp_path / "out", INPUTS, ARTEFACTS)
    assert not (tmp_path / "out" / ".predictions.1-of-2.h5.77.tmp").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_no_folder(tmp_path, overwrite):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="is a file; choose a folder"):
        RunFolder(tmp_path / "out", INPUTS, ARTEFACTS, overwrite=overwrite)
    assert (tmp_path / "out").read_text() == "mine"
