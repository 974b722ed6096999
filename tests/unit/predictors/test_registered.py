"""Every registered predictor keeps the protocol, and says what is wrong with its weights before the work."""

import importlib
import inspect
import tomllib
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.images.resize import Grid, network_grid
from dust3r_sfm.network.names import KNOWN_WEIGHTS
from dust3r_sfm.options import PredictOptions
from dust3r_sfm.predictors.predictor import (
    LoadsWeights,
    PairPredictor,
    PredictsPixels,
    StoresFeatures,
    check_predictor,
    list_predictors,
)

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
REGISTERED: dict[str, str] = PROJECT["project"]["entry-points"]["dust3r_sfm.predictors"]


def factory_of(name: str):
    module, _, factory = REGISTERED[name].partition(":")
    return getattr(importlib.import_module(module), factory)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture(params=sorted(REGISTERED))
def name(request) -> str:
    return str(request.param)


@pytest.fixture
def predictor(name, known_scene, tmp_path):
    """One of each, made without its weights where making it does not need them."""
    weights = {"oracle": str(known_scene[0]), "dust3r-mini": str(tmp_path / "missing.safetensors")}.get(name)
    return factory_of(name)(PredictOptions(predictor=name, weights=weights, device="cpu"), 0)


def test_it_says_what_it_is(name):
    factory = factory_of(name)
    summary = inspect.getdoc(factory).partition("\n")[0]
    assert summary.endswith((".", ":")) or len(summary) > 20
    assert isinstance(factory.licence, str) and factory.licence
    assert isinstance(factory.weights, str)


def test_it_keeps_the_protocol(name, predictor):
    assert isinstance(predictor, PairPredictor)
    assert predictor.name == name and predictor.licence
    for protocol in (PairPredictor, StoresFeatures, LoadsWeights, PredictsPixels):
        if not isinstance(predictor, protocol):
            continue
        methods = inspect.getmembers(protocol, inspect.isfunction)
        for method, declared in methods:
            if method.startswith("_"):
                continue
            parameters = list(inspect.signature(declared).parameters)[1:]
            assert list(inspect.signature(getattr(predictor, method)).parameters) == parameters, method


def test_its_grid_fits_photographs_of_any_shape(predictor):
    assert isinstance(predictor.grid, Grid)
    for size in ((4000, 3000), (3000, 4000), (1000, 1000)):
        (width, height), network_from_image = network_grid(size, 1, predictor.grid)
        assert width % predictor.grid.multiple_of == 0 and height % predictor.grid.multiple_of == 0
        centre = network_from_image @ [size[0] / 2, size[1] / 2, 1]
        assert np.abs(centre[:2] - [width / 2, height / 2]).max() <= 0.5 * predictor.grid.multiple_of


def test_missing_weights_are_a_sentence_before_the_work(name, predictor, offline):
    if isinstance(predictor, LoadsWeights):
        assert predictor.source is None
        with pytest.raises(PredictorError) as caught:
            check_predictor(predictor)
        assert "weights" in str(caught.value)
    else:
        assert check_predictor(predictor) == {"name": name, "licence": predictor.licence}


def test_descriptors_come_with_their_size(predictor):
    assert getattr(predictor, "descriptor_size", 0) == (24 if predictor.name == "mast3r-512" else 0)


def test_published_weights_are_registered_under_their_names():
    for name, known in KNOWN_WEIGHTS.items():
        predictor = factory_of(name)
        assert predictor.known == known and predictor.licence == known.licence and known.hub_id in predictor.weights


def test_the_list_shows_them_all():
    listed = {info.name: info for info in list_predictors()}
    assert set(REGISTERED) <= set(listed)
    assert not [info.summary for info in listed.values() if "cannot be imported" in info.summary]
