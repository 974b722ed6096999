"""Fixtures shared by all tests: a rendered scene with known cameras, and the folder of real photographs."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered scene of six small photographs: images/, truth/scene.h5, truth/poses.json."""
    from dust3r_sfm.synthetic.sample import sample

    folder = tmp_path_factory.mktemp("sample") / "scene"
    sample(folder, num_views=6, size=(512, 384), seed=1)
    return folder


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real photographs with known cameras; tests marked `data` are skipped without it."""
    root = Path(os.environ.get("DUST3R_SFM_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real photographs at {root} (set DUST3R_SFM_DATA)")
    return root
