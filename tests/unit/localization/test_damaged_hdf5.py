"""Whatever stands where an array should be in an HDF5 file: a sentence, from every reader."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import h5py
import numpy as np
import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.features.features import read_features
from dust3r_sfm.localization.hloc_files import FileMatcher, global_retrieval
from dust3r_sfm.localization.reference import Reference
from dust3r_sfm.predictors.store import PredictionStore, PredictionWriter, StoreHeader
from dust3r_sfm.types import PairPrediction, View

NAMES = ("sub/a.jpg", "b.jpg")


def _with(kind: type, **values: Any) -> Any:
    made = Mock(spec=kind)
    made.configure_mock(**values)
    return made


VIEWS = tuple(_with(View, name=name) for name in NAMES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Whole files: predictions.h5, features.h5, matches.h5 and global.h5."""
    rng = np.random.default_rng(0)
    maps: dict[str, Any] = {f"points{role}": rng.random((24, 32, 3), np.float32) + 1 for role in (1, 2)}
    maps |= {f"confidence{role}": rng.random((24, 32), np.float32) + 1.5 for role in (1, 2)}
    header = StoreHeader(predictor="x", licence="x", fingerprint="x")
    with PredictionWriter(tmp_path / "predictions.h5", NAMES, header) as writer:
        writer.add((0, 1), PairPrediction(**maps))
    with h5py.File(tmp_path / "features.h5", "w") as h5:
        for name in NAMES:
            h5[f"{name}/keypoints"], h5[f"{name}/descriptors"] = rng.random((9, 2)), rng.random((8, 9))
            h5[f"{name}/scores"] = rng.random(9)
    with h5py.File(tmp_path / "global.h5", "w") as h5:
        for name in NAMES:
            h5[f"{name}/global_descriptor"] = rng.random(16)
    with h5py.File(tmp_path / "matches.h5", "w") as h5:
        h5["sub-a.jpg/b.jpg/matches0"], h5["sub-a.jpg/b.jpg/matching_scores0"] = np.arange(9), np.ones(9)
    np.arange(12.0).tofile(tmp_path / "elsewhere")
    return tmp_path


READERS: dict[str, Callable[[Path], Any]] = {
    "predictions.h5": lambda folder: PredictionStore(folder / "predictions.h5", NAMES)[0, 1],
    "features.h5": lambda folder: read_features(folder / "features.h5", VIEWS),
    "matches.h5": lambda folder: FileMatcher(
        _with(Reference, names=NAMES[1:]), folder / "features.h5", folder / "matches.h5"
    ).match(VIEWS[:1], [(0, 0)]),
    "global.h5": lambda folder: global_retrieval(folder / "global.h5", _with(Reference, names=NAMES)),
}

WRONG: dict[str, Callable[[h5py.File, str], Any]] = {
    "a group": lambda h5, name: h5.create_group(name),
    "one number": lambda h5, name: h5.__setitem__(name, 3.0),
    "texts": lambda h5, name: h5.__setitem__(name, np.array(["a"], h5py.string_dtype())),
    "a link to itself": lambda h5, name: h5.__setitem__(name, h5py.SoftLink("/" + name)),
    "a link to another file": lambda h5, name: h5.__setitem__(name, h5py.ExternalLink("features.h5", "/b.jpg")),
    "another file's bytes": lambda h5, name: h5.create_dataset(name, (12,), "f8", external="elsewhere"),
    "128 GiB by its header": lambda h5, name: h5.create_dataset(name, (1 << 34, 2), np.float32, fillvalue=1),
    "no axes that fit": lambda h5, name: h5.__setitem__(name, np.ones((1, 2, 3, 4, 5))),
    "no numbers": lambda h5, name: h5.__setitem__(name, np.full_like(h5["kept"][()], np.nan, np.float16)),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("file", READERS)
def test_a_wrong_entry_becomes_a_sentence(folder: Path, file: str, what: str) -> None:
    READERS[file](folder)
    with h5py.File(folder / file) as h5:
        arrays: list[str] = []
        h5.visititems(lambda name, item: arrays.append(name) if isinstance(item, h5py.Dataset) else None)
    assert arrays
    for name in arrays:
        with h5py.File(folder / file, "r+") as h5:
            h5.move(name, "kept")
            WRONG[what](h5, name)
        with pytest.raises(InputError, match=file):
            READERS[file](folder)
        with h5py.File(folder / file, "r+") as h5:
            del h5[name]
            h5.move("kept", name)
    READERS[file](folder)


def test_a_scale_that_is_none_becomes_a_sentence(folder: Path) -> None:
    for scale in (np.nan, 0.0, -1.0, np.ones(2)):
        with h5py.File(folder / "predictions.h5", "r+") as h5:
            h5["sub%2Fa.jpg/b.jpg"].attrs["scale"] = scale
        store = PredictionStore(folder / "predictions.h5", NAMES)
        with pytest.raises(InputError, match="scale"):
            store[0, 1]
        with pytest.raises(InputError, match="scale"):
            store.stored((0, 1), [0])
        store.close()
