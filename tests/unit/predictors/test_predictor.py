import os
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.options import PredictorOptions
from dust3r_sfm.predictors import predictor
from dust3r_sfm.system import plugins


class _Example:
    """Says nothing about anything.

    More about it.
    """

    name, licence, weights, grid = "example", "MIT", "", Grid()

    def __init__(self, options: PredictorOptions, seed: int) -> None:
        self.seed = seed

    def prepare(self, images, graph):
        raise NotImplementedError

    encode = predict = describe = prepare


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    points = [
        EntryPoint("example", f"{__name__}:_Example", predictor.ENTRY_POINT_GROUP),
        EntryPoint("broken", "no_such_module:Predictor", predictor.ENTRY_POINT_GROUP),
    ]
    load, found = EntryPoint.load, plugins.entry_points
    monkeypatch.setattr(EntryPoint, "load", lambda self: _Example if self.name == "example" else load(self))
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: points if group == predictor.ENTRY_POINT_GROUP else found(group=group)
    )


def test_loads_by_name_with_the_seed():
    assert predictor.load_predictor(PredictorOptions(predictor="example"), 7).seed == 7


def test_an_unknown_name_suggests_close_ones():
    with pytest.raises(PredictorError, match=r"'exmaple'; did you mean example\?"):
        predictor.load_predictor(PredictorOptions(predictor="exmaple"), 0)


def test_a_name_like_no_other_lists_all():
    with pytest.raises(PredictorError, match="registered are: broken, example"):
        predictor.load_predictor(PredictorOptions(predictor="zzzzzzzz"), 0)


def test_a_predictor_that_cannot_be_imported_says_so():
    with pytest.raises(PredictorError, match="'broken' cannot be imported from no_such_module:Predictor"):
        predictor.load_predictor(PredictorOptions(predictor="broken"), 0)


def test_something_else_is_refused(monkeypatch):
    monkeypatch.delattr(_Example, "encode")
    with pytest.raises(
        PredictorError, match=r"'example' lacks a part of dust3r_sfm\.predictors\.predictor\.PairPredictor"
    ):
        predictor.load_predictor(PredictorOptions(predictor="example"), 0)


def test_the_list_survives_a_broken_predictor():
    broken, example = predictor.list_predictors()
    assert broken.name == "broken" and "no_such_module" in broken.summary
    assert example.summary == "Says nothing about anything." and example.licence == "MIT"


def test_other_weights_under_the_same_name_are_other_facts(tmp_path):
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"first")
    options = PredictorOptions(predictor="example", weights=str(weights))
    before = predictor.predictor_facts(options)
    assert predictor.predictor_facts(options) == before
    weights.write_bytes(b"other")
    os.utime(weights, ns=(0, 1))
    after = predictor.predictor_facts(options)
    assert after != before and {**after, "weights_files": 0} == {**before, "weights_files": 0}
    assert predictor.predictor_facts(PredictorOptions(precision="float32"))["precision"] == "float32"


class _Loads(_Example):
    """Weights whose content is known once they are loaded."""

    source = None

    def __init__(self, sha256: str) -> None:
        self.sha256 = sha256

    def check(self):
        self.source = SimpleNamespace(name="w.pth", path="w.pth", sha256=self.sha256)


def test_the_mark_is_of_the_weights_not_of_their_name():
    marks = [predictor.predictor_mark(_Loads(digest)) for digest in ("1", "1", "2")]
    assert marks[0] == marks[1] != marks[2]
