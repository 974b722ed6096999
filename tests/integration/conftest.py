"""One finished run, exact because the oracle made its predictions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dust3r_sfm.options import PredictOptions, ReconstructOptions, RefineOptions
from dust3r_sfm.reconstruct import reconstruct
from dust3r_sfm.runs.summary import Summary


@contextmanager
def no_learned_weights() -> Iterator[None]:
    """As on a machine that has none: runs are the same and as quick everywhere; learned features have own tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dust3r_sfm.features.weights.find", lambda published: None)
        yield


@pytest.fixture(scope="module", autouse=True)
def without_learned_weights() -> Iterator[None]:
    """Hide them while the tests of a file run."""
    with no_learned_weights():
        yield


@pytest.fixture(scope="session")
def oracle_options(sample_folder: Path) -> ReconstructOptions:
    """Options that answer from the truth of the rendered scene."""
    return ReconstructOptions(
        predict=PredictOptions(predictor="oracle", weights=str(sample_folder / "truth" / "scene.h5")),
        refine=RefineOptions(refine="none"),  # it has tests of its own, and exact cameras need none
    )


@pytest.fixture(scope="session")
def oracle_run(
    sample_folder: Path,
    oracle_options: ReconstructOptions,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Summary]:
    """An output folder and its summary."""
    out = tmp_path_factory.mktemp("oracle") / "out"
    with no_learned_weights():
        summary = reconstruct(sample_folder / "images", out, oracle_options)
    assert summary is not None
    return out, summary
