"""One finished run, exact because the oracle made its predictions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dust3r_sfm.options import PredictOptions, ReconstructOptions, RefineOptions
from dust3r_sfm.reconstruct import reconstruct
from dust3r_sfm.runs.summary import Summary


@pytest.fixture(scope="package", autouse=True)
def without_learned_weights() -> Iterator[None]:
    """Runs are the same, and as quick, where weights of learned features are installed; those have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dust3r_sfm.features.weights.find", lambda published: None)
        yield


@pytest.fixture(scope="session")
def oracle_options(sample_folder: Path) -> ReconstructOptions:
    """Options that answer from the truth of the rendered scene."""
    return ReconstructOptions(
        predict=PredictOptions(predictor="oracle", weights=str(sample_folder / "truth" / "scene.h5")),
        refine=RefineOptions(refine="none"),  # it has tests of its own, and exact cameras need none
    )


@pytest.fixture(scope="package")
def oracle_run(
    without_learned_weights: None,
    sample_folder: Path,
    oracle_options: ReconstructOptions,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Summary]:
    """An output folder and its summary."""
    out = tmp_path_factory.mktemp("oracle") / "out"
    summary = reconstruct(sample_folder / "images", out, oracle_options)
    assert summary is not None
    return out, summary
