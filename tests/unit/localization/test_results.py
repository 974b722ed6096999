"""Results on disk: hloc's lines, JSON, and a journal that survives a kill."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.geometry.transforms import rotation_exp
from dust3r_sfm.localization.results import Results, from_json, results_text, to_json
from dust3r_sfm.types import KnownCamera, Localization

POSE = np.column_stack([rotation_exp(np.array([0.1, 0.2, 3.0])), [1.0, -2.0, 3.5]])
FOUND = Localization(
    name="seq-01/frame.jpg",
    cam_from_world=POSE,
    camera=KnownCamera(model="PINHOLE", size=(640, 480), params=(500.0, 501.0, 320.0, 240.0)),
    num_matches=100,
    num_inliers=60,
    confidence=0.93,
    covariance=np.eye(6),
    retrieved=("b.jpg", "a.jpg"),
    nearest=POSE,
)
LOST = Localization(name="seq-02/frame.jpg", reason="it seems to show another place", nearest=POSE)


def _same(first: Localization, second: Localization) -> bool:
    return to_json(first) == to_json(second)


def test_json_holds_all_of_it():
    for localization in (FOUND, LOST):
        back = from_json(to_json(localization))
        assert _same(back, localization)
        assert back.cam_from_world is None or np.array_equal(back.cam_from_world, localization.cam_from_world)


def test_lines_are_hlocs():
    name, *numbers = results_text([FOUND], "full", "omit").split()
    w, x, y, z, *translation = map(float, numbers)
    assert name == "seq-01/frame.jpg" and translation == [1.0, -2.0, 3.5] and w >= 0
    assert np.allclose(Rotation.from_quat([x, y, z, w]).as_matrix(), POSE[:, :3])


def test_names_and_failed_queries():
    assert results_text([LOST], "full", "omit") == ""
    assert results_text([LOST], "base", "nearest").startswith("frame.jpg ")
    deep = Localization(name="a/b/c/frame.jpg", cam_from_world=POSE)
    assert results_text([deep], "parent", "omit").startswith("c/frame.jpg ")
    with pytest.raises(InputError, match=r"Two queries are called frame\.jpg"):
        results_text([FOUND, LOST], "base", "omit")
    with pytest.raises(InputError, match="holds a blank"):
        results_text([Localization(name="a b.jpg", cam_from_world=POSE)], "full", "omit")


def test_a_killed_run_goes_on(tmp_path):
    path = tmp_path / "out" / "results.txt"
    results = Results(path, {"map": "m", "num_loc": 10})
    results.add([FOUND])
    with (path.with_suffix(".journal")).open("a") as file:
        file.write('{"name": "cut sho')
    again = Results(path, {"map": "m", "num_loc": 10})
    assert list(again.done) == [FOUND.name]
    again.add([LOST])
    again.finish([FOUND.name, LOST.name], "full", "omit")
    assert not path.with_suffix(".journal").exists() and path.with_suffix(".json").is_file()
    assert len(path.read_text().splitlines()) == 1
    finished = Results(path, {"map": "m", "num_loc": 10})
    assert _same(finished.done[LOST.name], LOST) and _same(finished.done[FOUND.name], FOUND)


def test_results_of_another_run_are_kept(tmp_path):
    path = tmp_path / "results.txt"
    results = Results(path, {"num_loc": 10})
    results.finish([], "full", "omit")
    with pytest.raises(OutputError, match="num loc was 10, is now 20"):
        Results(path, {"num_loc": 20})
    Results(path, {"num_loc": 20}, overwrite=True).finish([], "full", "omit")
    path.with_suffix(".json").unlink()
    with pytest.raises(OutputError, match="was not written by this command"):
        Results(path, {"num_loc": 20})


def test_the_json_file_needs_a_name_of_its_own(tmp_path):
    with pytest.raises(InputError, match=r"call the results \.txt"):
        Results(tmp_path / "results.json", {})


def test_a_run_that_failed_at_once_leaves_the_name_free(tmp_path):
    path = tmp_path / "results.txt"
    Results(path, {"num_loc": 3})
    results = Results(path, {"num_loc": 4})
    results.add([FOUND])
    with pytest.raises(OutputError, match="num loc was 4, is now 5"):
        Results(path, {"num_loc": 5})


def test_results_that_cannot_be_written_are_refused_before_the_work(tmp_path):
    with pytest.raises(InputError, match=r"is a folder; name a file"):
        Results(tmp_path, {})
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot be written because .* is a file"):
        Results(tmp_path / "file" / "results.txt", {})
