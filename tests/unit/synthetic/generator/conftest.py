"""Scenes of the generator, and a slow reference that shares no formula with its ray caster."""

import numpy as np
import pytest
import torch

from dust3r_sfm.synthetic.generator.bank import TextureBank, procedural_pictures


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bank():
    return TextureBank(procedural_pictures(np.random.default_rng(0), 20))
