import argparse
import hashlib
import logging
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dust3r_sfm.errors import InputError, PredictorError, WeightsError
from dust3r_sfm.images.load import load_pixels
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.network import KNOWN_WEIGHTS, CompletionNetwork, Network, NetworkConfig, load_network, random_network
from dust3r_sfm.network.names import UNKNOWN_LICENCE
from dust3r_sfm.options import ImageOptions, PredictOptions
from dust3r_sfm.predictors.device import choose_device, mixed_precision
from dust3r_sfm.predictors.dust3r import Dust3r224Linear, Dust3r512Dpt, Dust3r512Linear, NetworkPredictor, monocular
from dust3r_sfm.predictors.predictor import LoadsWeights, PairPredictor, StoresFeatures, check_predictor
from dust3r_sfm.predictors.run import directed_edges, predict_pairs, store_header
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

    def make(kind=Dust3r512Linear, source=weights, **options) -> NetworkPredictor:
        options = {"device": "cpu", "num_workers": 1, **options}
        return kind(PredictOptions(weights=str(source) if source else None, **options), 0)

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


def test_both_directions_equal_the_network_called_directly(make, images, weights):
    network = load_network(weights)
    predictions = run(make(), images)
    assert sorted(predictions) == sorted(EDGES)
    for (i, j), prediction in predictions.items():
        first, second = images.views[i], images.views[j]
        assert prediction.points1.shape == (*SHAPES[first.name], 3)
        assert prediction.points2.shape == (*SHAPES[second.name], 3)
        assert all(values.dtype == np.float32 for values in vars(prediction).values() if values is not None)
        with torch.no_grad():
            direct = network(tensor(first), tensor(second))
        for side, view in ((1, first), (2, second)):
            np.testing.assert_allclose(
                getattr(prediction, f"points{side}"), getattr(direct, f"points{side}")[0], rtol=1e-5, atol=1e-5
            )
            shown = np.s_[:, 32:] if view.name == "e.png" else np.s_[:]
            confidence = getattr(prediction, f"confidence{side}")
            np.testing.assert_allclose(
                confidence[shown], getattr(direct, f"confidence{side}")[0].numpy()[shown], rtol=1e-5
            )
            assert (confidence >= 1).all()


def test_masked_pixels_are_unknown(make, images):
    predictions = run(make(), images)
    for confidence in (predictions[4, 0].confidence1, predictions[0, 4].confidence2):
        assert (confidence[:, :32] == 1).all() and (confidence[:, 32:] > 1).all()
    assert (predictions[4, 0].confidence2 > 1).all()


def test_each_photograph_is_encoded_once_and_its_own_part_computed_once_per_role(make, images, tmp_path, counted):
    predictor = make()
    predictor.prepare(images, ALL)
    predictor._network._parts._max_bytes = 1 << 30
    store = predict_pairs(predictor, images, ALL, tmp_path / "predictions.h5", predictor._options)
    assert store.edges() == sorted(EDGES)
    assert sum(counted["encode"]) == len(images) and sum(counted["decode"]) == len(EDGES)
    assert sum(counted["project"]) == 2 * len(images)
    assert store.header.predictor == "dust3r-512-linear" and store.header.licence == UNKNOWN_LICENCE


def test_features_that_memory_cannot_hold_wait_on_disk(make, images, tmp_path, counted):
    """Photographs of four shapes, one with a mask: nothing is encoded twice, and half precision is all that is lost."""
    predictor = make()
    exact = predict_pairs(predictor, images, ALL, tmp_path / "memory.h5", predictor._options)
    counted["encode"].clear()
    options = replace(predictor._options, max_encoded=2)
    store = predict_pairs(predictor, images, ALL, tmp_path / "disk.h5", options)
    assert store.edges() == exact.edges() and sum(counted["encode"]) == len(images)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["disk.h5", "memory.h5"]
    for edge in EDGES:
        assert_close(store[edge], exact[edge], tolerance=2e-2)


def test_a_packed_feature_takes_what_was_said(make, images):
    predictor = make()
    for view, feature in zip(images.views, predictor.encode(images.views), strict=True):
        arrays = predictor.pack(feature)
        assert {array.dtype.name for array in arrays.values()} <= {"float16", "bool"}
        num_bytes = sum(array.nbytes for array in arrays.values())
        assert predictor.feature_bytes(view) - view.network_size[0] * view.network_size[1] <= num_bytes
        assert num_bytes <= predictor.feature_bytes(view)
        again = predictor.unpack(arrays, view)
        assert (again.name, again.shape) == (feature.name, feature.shape)
        torch.testing.assert_close(again.features.tokens.float(), feature.features.tokens, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(again.usable, feature.usable)


def test_other_weights_never_use_old_predictions(make, images, tmp_path):
    """Not even under the old name; the same weights under another name do."""
    path, store_path = tmp_path / "a.pth", tmp_path / "p.h5"
    predictor = make(source=save(path, random_network(CONFIG, 1)))
    predict_pairs(predictor, images, ALL, store_path, predictor._options)
    renamed = make(source=path.rename(tmp_path / "b.pth"))
    assert len(predict_pairs(renamed, images, ALL, store_path, renamed._options)) == len(EDGES)
    save(path, random_network(CONFIG, 2))
    other = make(source=path)
    with pytest.raises(InputError, match=r"p\.h5 holds predictions of another run .*weights"):
        predict_pairs(other, images, ALL, store_path, other._options)


def test_weights_are_checked_once_and_say_where_they_came_from(make, images, weights, monkeypatch):
    predictor, calls = make(), []
    monkeypatch.setattr("dust3r_sfm.network.load_network", lambda source: calls.append(source) or load_network(source))
    facts = check_predictor(predictor)
    predictor.check()
    predictor.prepare(images, ALL)
    assert calls == [str(weights)]
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert facts["source"] == {"name": str(weights), "path": str(weights), "sha256": digest}
    assert facts["name"] == "dust3r-512-linear" and facts["licence"] == UNKNOWN_LICENCE


def test_two_runs_are_equal_and_a_resumed_one_too(make, images):
    whole = run(make(), images)
    pieces = {
        edge: prediction for edges in (EDGES[:7], EDGES[7:]) for edge, prediction in run(make(), images, edges).items()
    }
    for edge in EDGES:
        assert_close(whole[edge], pieces[edge], tolerance=0)


def test_batches_change_nothing(make, images, counted):
    alone = run(make(), images)
    assert set(counted["decode"]) == {1}
    counted["decode"].clear()
    predictor = make()
    predictor.prepare(images, ALL)
    predictor._network._max_pixels = 4 * 64 * 64
    together = run(predictor, images)
    # a and d share a shape: they are encoded together, and so are their pairs with each other photograph.
    assert max(counted["encode"]) == 2 and max(counted["decode"]) == 2 and sum(counted["decode"]) == len(EDGES)
    for edge in EDGES:
        assert_close(alone[edge], together[edge])


def test_half_precision_is_close(make, images):
    exact = run(make(), images, EDGES[:4])
    for edge, prediction in run(make(precision="bfloat16"), images, EDGES[:4]).items():
        assert prediction.points1.dtype == np.float32
        assert not np.array_equal(prediction.points1, exact[edge].points1)
        error = np.linalg.norm(prediction.points2 - exact[edge].points2, axis=-1)
        assert error.mean() < 0.05 * np.linalg.norm(exact[edge].points2, axis=-1).mean()


def test_another_precision_never_uses_old_predictions(make, images):
    options = [PredictOptions(precision=precision) for precision in ("auto", "auto", "float32", "bfloat16")]
    prints = [store_header(make(), images, one, 0).fingerprint for one in options]
    assert prints[0] == prints[1] and len(set(prints)) == 3


def test_parts_are_bounded_while_it_runs_and_gone_afterwards(make, images, counted):
    predictor = make()
    predictor.prepare(images, ALL)
    predictor._network._parts._max_bytes = 0
    features = dict(enumerate(predictor.encode(images.views)))
    bounded = {}
    for edge, prediction in predictor.predict(features, EDGES):
        assert not any(one.features.parts for one in features.values())
        bounded[edge] = prediction
    assert sum(counted["project"]) == 2 * len(EDGES)
    predictor._network._parts._max_bytes = 1 << 30
    unbounded = predictor.predict(features, EDGES)
    kept = dict(next(unbounded) for _ in range(6))
    assert sum(bool(one.features.parts) for one in features.values()) == 4
    unbounded.close()
    assert not any(one.features.parts for one in features.values())
    for edge, prediction in kept.items():
        assert_close(prediction, bounded[edge], tolerance=0)


@pytest.fixture
def same_shape(images):
    """Eight photographs of one shape."""
    view = images.views[0]
    return replace(images, views=tuple(replace(view, name=f"{index}.png") for index in range(8)))


OUT_OF_MEMORY = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB, max allowed: 9.07 GB)."),
    "host": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: 12 (bytes)"
    ),
    "host, other words": RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8"),
    "numpy": MemoryError(),
}


def _limit_memory(monkeypatch, name, limit, sizes, error=OUT_OF_MEMORY["cuda"]):
    call = getattr(Network, name)

    def limited(self, first, *rest):
        sizes.append(len(first))
        if len(first) > limit:
            raise error
        return call(self, first, *rest)

    monkeypatch.setattr(Network, name, limited)


@pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)
@pytest.mark.parametrize(("name", "work"), [("encode", 8), ("decode", 14)])
def test_out_of_memory_halves_the_batch_and_goes_on(make, images, same_shape, monkeypatch, name, work, error):
    edges = [edge for k in range(7) for edge in ((k, k + 1), (k + 1, k))]
    predictor, sizes = make(), []
    predictor.prepare(images, ALL)
    predictor._network._max_pixels = 8 * 48 * 64
    with monkeypatch.context() as patch:
        _limit_memory(patch, name, 2, sizes, error)
        predictions = run(predictor, same_shape, edges)
    assert sizes[:3] == [8, 4, 2] and set(sizes[2:]) == {2} and sum(sizes[2:]) == work
    plain = run(make(), same_shape, edges)
    assert sorted(predictions) == sorted(edges)
    for edge in edges:
        assert_close(predictions[edge], plain[edge])


def test_out_of_memory_for_a_single_pair_is_a_sentence(make, images, monkeypatch):
    sizes: list[int] = []
    _limit_memory(monkeypatch, "decode", 0, sizes)
    with pytest.raises(PredictorError, match="does not hold the work on one pair"):
        run(make(), images)
    assert sizes == [1, 1]


def test_other_errors_are_not_taken_for_a_lack_of_memory(make, images, monkeypatch):
    sizes: list[int] = []
    _limit_memory(monkeypatch, "decode", 0, sizes, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run(make(), images)
    assert sizes == [1]


@pytest.mark.filterwarnings("ignore:CUDA is not available")
@pytest.mark.parametrize(
    ("kind", "bf16", "macos", "mixed"),
    [
        ("cuda", True, 0, True),
        ("cuda", False, 0, False),
        ("mps", False, 15, True),
        ("mps", False, 13, False),
        ("cpu", 1, 0, False),
    ],
)
def test_precision_follows_the_device(monkeypatch, kind, bf16, macos, mixed):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: macos >= major)
    block = mixed_precision(torch.device(kind))
    assert isinstance(block, torch.autocast) == mixed
    assert not mixed or block.fast_dtype == torch.bfloat16
    assert isinstance(mixed_precision(torch.device(kind), "bfloat16"), torch.autocast)
    assert not isinstance(mixed_precision(torch.device(kind), "float32"), torch.autocast)


def test_values_that_are_no_numbers_are_refused(make, images, tmp_path):
    network = random_network(CONFIG, 0)
    with torch.no_grad():
        network.downstream_head2.proj.weight.mul_(1e6)
    with pytest.raises(PredictorError, match=r"no finite numbers for a\.png – b\.png"):
        run(make(source=save(tmp_path / "wild.pth", network)), images)


def test_confidence_begins_at_one_whatever_the_network_says(make, images, tmp_path):
    source = save(tmp_path / "sigmoid.pth", random_network(CONFIG, 0), confidence="('sigmoid', 0, 1)")
    confidence = run(make(source=source), images, [(0, 1)])[0, 1].confidence1
    assert (confidence > 1).all() and (confidence < 2).all()


def test_one_photograph_with_itself(make, images, weights):
    predictor, view = make(), images.views[1]
    prediction = monocular(predictor, view)
    with torch.no_grad():
        direct = load_network(weights)(tensor(view), tensor(view))
    np.testing.assert_allclose(prediction.points1, direct.points1[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(prediction.points2, direct.points2[0], rtol=1e-5, atol=1e-5)


def test_making_one_loads_nothing_and_prepare_says_what_is_missing(make, images, tmp_path):
    predictor = make(source=tmp_path / "missing.pth")
    with pytest.raises(WeightsError, match=r"no weights file '.*missing\.pth'.*known names"):
        predictor.prepare(images, ALL)
    known = KNOWN_WEIGHTS["dust3r-512-dpt"]
    with pytest.raises(WeightsError) as caught:
        make(Dust3r512Dpt, source=None).prepare(images, ALL)
    assert known.url in str(caught.value) and "dust3r_sfm[hub]" in str(caught.value)


def test_the_known_weights_are_found_by_name(images, tmp_path, make):
    known = KNOWN_WEIGHTS["dust3r-512-linear"]
    folder = tmp_path / "cache" / "dust3r_sfm" / "weights"
    folder.mkdir(parents=True)
    save(folder / known.file_name, random_network(CONFIG, 0))
    predictor = make(source=None)
    assert predictor.licence == known.licence and predictor.source is None
    predictor.prepare(images, ALL)
    assert predictor.source.path == folder / known.file_name and len(predictor.source.sha256) == 64


def test_the_licence_is_said_once(make, images, caplog):
    predictor = make()
    with caplog.at_level(logging.WARNING, "dust3r_sfm"):
        predictor.prepare(images, ALL)
        run(predictor, images)
    assert [UNKNOWN_LICENCE in message for message in caplog.messages] == [True]
    assert KNOWN_WEIGHTS["dust3r-512-dpt"].licence == make(Dust3r512Dpt, source=None).licence


def test_a_start_for_training_is_refused(make, images, tmp_path):
    network = CompletionNetwork(CONFIG)
    network.initialize()
    path = tmp_path / "CroCo_small.pth"
    call = argparse.Namespace(model=f"CroCoNet({BACKBONE})")
    torch.save({"args": call, "model": network.state_dict()}, path)
    with pytest.raises(WeightsError, match="start for training"):
        make(source=path).prepare(images, ALL)


def test_weights_of_another_predictor_name_it(make):
    with pytest.raises(PredictorError, match="--predictor dust3r-512-dpt"):
        make(Dust3r224Linear, source="naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt")
    make(Dust3r512Dpt, source="elsewhere/DUSt3R_ViTLarge_BaseDecoder_512_dpt.pth")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:1", "", "meta"])
def test_a_device_that_is_not_there_is_a_sentence(make, images, device):
    with pytest.raises(PredictorError, match="device"):
        make(device=device).prepare(images, ALL)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(2, True, "cuda"), (0, True, "mps"), (0, False, "cpu")], ids=["cuda", "mps", "cpu"]
)
def test_auto_takes_the_best_device(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == torch.device(expected)
    assert choose_device("cpu") == torch.device("cpu")


def test_grids(make):
    assert make(Dust3r512Dpt).grid == make(Dust3r512Linear).grid == Grid(size=512, multiple_of=16)
    assert make(Dust3r224Linear).grid == Grid(size=224, multiple_of=16, square_crop=True)
    assert all(isinstance(make(), protocol) for protocol in (PairPredictor, StoresFeatures, LoadsWeights))
    assert make().describe([]) is None


def test_every_known_name_is_registered():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    registered = project["project"]["entry-points"]["dust3r_sfm.predictors"]
    for name, known in KNOWN_WEIGHTS.items():
        module, _, factory = registered[name].partition(":")
        predictor = getattr(import_module(module), factory)
        assert predictor.known == known and predictor.licence == known.licence
        assert known.hub_id in predictor.weights and predictor.__doc__


def test_listing_does_not_wait_for_pytorch():
    code = "import sys, dust3r_sfm.predictors.dust3r; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
