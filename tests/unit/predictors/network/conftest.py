"""Five photographs of four shapes, and a small random network as a predictor of them."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dust3r_sfm.images.load import load_pixels
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.network import Network, NetworkConfig, random_network
from dust3r_sfm.options import ImageOptions, PredictOptions
from dust3r_sfm.predictors.dust3r import Dust3r512Linear, NetworkPredictor
from dust3r_sfm.predictors.run import directed_edges
from dust3r_sfm.types import PairGraph

GRID = Grid(size=64, multiple_of=16)
SIZES = {"a.png": (128, 96), "b.png": (96, 128), "c.png": (100, 100), "d.png": (128, 96), "e.png": (256, 120)}
SHAPES = {"a.png": (48, 64), "b.png": (64, 48), "c.png": (64, 64), "d.png": (48, 64), "e.png": (16, 64)}
CONFIG = NetworkConfig(
    encoder_width=48,
    encoder_depth=2,
    encoder_heads=3,
    decoder_width=32,
    decoder_depth=2,
    decoder_heads=2,
    head="linear",
)
BACKBONE = (
    "pos_embed='RoPE100', img_size=(64, 64), enc_embed_dim=48, enc_depth=2, enc_num_heads=3, "
    "dec_embed_dim=32, dec_depth=2, dec_num_heads=2"
)
ALL = PairGraph(
    num_images=5,
    edges=np.array([(i, j) for i in range(5) for j in range(i + 1, 5)]),
    weights=np.ones(10),
)
EDGES = directed_edges(ALL, one_direction=False)
OPTIONS = PredictOptions(device="cpu", num_workers=1)
MUCH = 1 << 30
"""Bytes that hold all parts."""


def save(path: Path, network: Network, confidence: str = "('exp', 1, inf)") -> Path:
    call = f"AsymmetricCroCo3DStereo({BACKBONE}, depth_mode=('exp', -inf, inf), conf_mode={confidence})"
    torch.save({"args": argparse.Namespace(model=call), "model": network.state_dict()}, path)
    return path


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    torch.set_num_threads(1)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Landscape, portrait, square, landscape again, and a narrow one; e.png has a mask that hides its left half."""
    folder = tmp_path_factory.mktemp("photographs")
    masks = tmp_path_factory.mktemp("masks")
    for seed, (name, (width, height)) in enumerate(SIZES.items()):
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(folder / name)
    mask = np.full((120, 256), 255, np.uint8)
    mask[:, :128] = 0
    Image.fromarray(mask).save(masks / "e.png.png")
    return read_images(folder, ImageOptions(masks=masks), GRID)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("weights") / "small.pth", random_network(CONFIG, 0))


@pytest.fixture
def make(weights):
    """A predictor of small pictures on the CPU."""

    def make(kind=Dust3r512Linear, source=weights, limits=None, **options) -> NetworkPredictor:
        return kind(replace(OPTIONS, weights=str(source) if source else None, **options), 0, limits)

    return make


@pytest.fixture
def counted(monkeypatch):
    """Sizes of the batches encoded, decoded, and brought to the decoder's width (once per image and role)."""
    counts = {"encode": [], "decode": [], "project": []}

    def count(name):
        call = getattr(Network, name)

        def counting(self, first, *rest):
            counts[name].append(len(first))
            return call(self, first, *rest)

        monkeypatch.setattr(Network, name, counting)

    for name in counts:
        count(name)
    return counts


def run(predictor, images, edges=EDGES):
    features = dict(enumerate(predictor.encode(images.views)))
    return dict(predictor.predict(features, edges))


def tensor(view) -> torch.Tensor:
    return torch.from_numpy(load_pixels(view)).permute(2, 0, 1)[None].float() / 127.5 - 1


def assert_close(one, other, tolerance=1e-5):
    for name in ("points1", "confidence1", "points2", "confidence2"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=tolerance, atol=tolerance)
