"""The small network as a predictor: pair by pair, both directions of one pass."""

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.errors import WeightsError
from dust3r_sfm.images.read import read_images
from dust3r_sfm.network.mini import MiniConfig, random_mini
from dust3r_sfm.network.mini_file import FILE_NAME, write_mini
from dust3r_sfm.options import ImageOptions, PredictOptions
from dust3r_sfm.predictors.mini import MiniPredictor
from dust3r_sfm.predictors.predictor import LoadsWeights, PairPredictor, check_predictor

SMALL = MiniConfig(
    encoder_width=64,
    encoder_depth=2,
    decoder_width=64,
    decoder_depth=2,
    head_channels=16,
    descriptor_size=16,
    head_width=32,
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mini")
    write_mini(random_mini(SMALL, seed=0), folder / FILE_NAME)
    return folder


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("a", (300, 200)), ("b", (200, 300)), ("c", (256, 256))):
        Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def test_edges_do_not_depend_on_their_company(weights, images):
    predictor = MiniPredictor(PredictOptions(weights=str(weights), device="cpu"), seed=0)
    assert isinstance(predictor, PairPredictor) and isinstance(predictor, LoadsWeights)
    facts = check_predictor(predictor)
    assert facts["source"]["path"].endswith(FILE_NAME) and len(facts["source"]["sha256"]) == 64
    views = read_images(images, ImageOptions(), predictor.grid).views
    features = dict(enumerate(predictor.encode(views)))
    edges = [(1, 0), (0, 2), (2, 0), (0, 1)]
    found = dict(predictor.predict(features, edges))
    assert set(found) == set(edges)
    for (i, j), prediction in found.items():
        for index, points, confidence in (
            (i, prediction.points1, prediction.confidence1),
            (j, prediction.points2, prediction.confidence2),
        ):
            assert points.shape == (*views[index].network_size[::-1], 3)
            assert (confidence >= 1).all()
        ((_, alone),) = predictor.predict(features, [(i, j)])
        assert np.array_equal(alone.points2, prediction.points2)


def test_without_weights_a_sentence_says_how_to_get_them():
    with pytest.raises(WeightsError, match="dust3r-sfm train OUT --preset mini"):
        MiniPredictor(PredictOptions(), seed=0)
