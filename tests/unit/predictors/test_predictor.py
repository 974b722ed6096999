from importlib.metadata import EntryPoint

import pytest

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.options import PredictOptions
from dust3r_sfm.predictors import predictor


class _Example:
    """Says nothing about anything.

    More about it.
    """

    name, licence, weights, grid = "example", "MIT", "", Grid()

    def __init__(self, options: PredictOptions, seed: int) -> None:
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
    monkeypatch.setattr(
        EntryPoint, "load", lambda self: _Example if self.name == "example" else __import__(self.module)
    )
    monkeypatch.setattr(predictor, "entry_points", lambda group: [p for p in points if p.group == group])


def test_loads_by_name_with_the_seed():
    assert predictor.load_predictor(PredictOptions(predictor="example"), 7).seed == 7


def test_an_unknown_name_suggests_close_ones():
    with pytest.raises(PredictorError, match=r"'exmaple'; did you mean example\?"):
        predictor.load_predictor(PredictOptions(predictor="exmaple"), 0)


def test_a_name_like_no_other_lists_all():
    with pytest.raises(PredictorError, match="registered are: broken, example"):
        predictor.load_predictor(PredictOptions(predictor="zzzzzzzz"), 0)


def test_a_predictor_that_cannot_be_imported_says_so():
    with pytest.raises(PredictorError, match="'broken' cannot be imported from no_such_module:Predictor"):
        predictor.load_predictor(PredictOptions(predictor="broken"), 0)


def test_something_else_is_refused(monkeypatch):
    monkeypatch.delattr(_Example, "encode")
    with pytest.raises(
        PredictorError, match=r"'example' .* lacks a part of dust3r_sfm\.predictors\.predictor\.PairPredictor"
    ):
        predictor.load_predictor(PredictOptions(predictor="example"), 0)


def test_the_list_survives_a_broken_predictor():
    broken, example = predictor.list_predictors()
    assert broken.name == "broken" and "no_such_module" in broken.summary
    assert example.summary == "Says nothing about anything." and example.licence == "MIT"
