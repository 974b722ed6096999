"""Where memory ends, batches are halved; and the precision that a device computes in."""

from dataclasses import replace

import pytest
import torch

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.network import Network
from dust3r_sfm.predictors.device import mixed_precision
from dust3r_sfm.predictors.memory import MemoryLimits

from .conftest import ALL, assert_close, run


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
    predictor, sizes = make(limits=MemoryLimits(batch_pixels=8 * 48 * 64)), []
    predictor.prepare(images, ALL)
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
