"""The small network: symmetric, the same by every path, and small on disk."""

import pytest
import torch
from safetensors.torch import save_file

from dust3r_sfm.errors import InputError, WeightsError
from dust3r_sfm.network.mini import MiniConfig, MiniNetwork, random_mini
from dust3r_sfm.network.mini_file import FILE_NAME, read_mini, write_mini

SMALL = MiniConfig(
    encoder_width=64,
    encoder_depth=4,
    decoder_width=64,
    decoder_depth=3,
    head_channels=16,
    descriptor_size=16,
    head_width=32,
)
TOLERANCE = {"atol": 2e-5, "rtol": 2e-4}


@pytest.fixture(scope="module")
def network():
    network = random_mini(SMALL, seed=1).eval().requires_grad_(False)
    with torch.no_grad():  # away from the start, where all maps are nearly flat
        network.head.out.weight.mul_(20)
    return network


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 3, 48, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_both_directions_come_from_one_pass(network, images):
    features = network.encode(images)
    together = network.decode_symmetric(features)
    for row in range(4):
        there, back = network.decode(features.select([row]), features.select([row ^ 1]))
        for name in ("points1", "confidence1", "points2", "confidence2", "matches"):
            torch.testing.assert_close(getattr(there, name)[0], getattr(together, name)[row], **TOLERANCE)
            torch.testing.assert_close(getattr(back, name)[0], getattr(together, name)[row ^ 1], **TOLERANCE)
    assert together.points1.shape == (4, 48, 64, 3)
    assert together.points1.std(dim=(1, 2)).min() > 1e-3
    assert (together.confidence1 > 1).all()


def test_views_may_differ_in_shape(network, images):
    first, second = network.encode(images[:1]), network.encode(images[:1, :, :32].transpose(2, 3))
    there, back = network.decode(first, second)
    assert there.points1.shape == back.points2.shape == (1, 48, 64, 3)
    assert there.points2.shape == back.points1.shape == (1, 64, 32, 3)
    assert there.matches.shape == (1, 12, 8)


def test_the_other_view_matters(network, images):
    features = network.encode(images)
    one, _ = network.decode(features.select([0]), features.select([1]))
    other, _ = network.decode(features.select([0]), features.select([2]))
    assert (one.points1 - other.points1).abs().max() > 1e-4


def test_matches_steer_the_attention(images):
    network = random_mini(SMALL, seed=1).requires_grad_(True)
    prediction = network.decode_symmetric(network.encode(images))
    prediction.points2.sum().backward()
    assert network.dec_blocks[0].trust.grad.abs().max() > 0
    assert network.describe.weight.grad.abs().max() > 0


def test_the_default_fits_the_package(tmp_path):
    with torch.device("meta"):
        count = sum(value.numel() for value in MiniNetwork(MiniConfig()).parameters())
    assert 20e6 < count < 25e6
    network = random_mini(MiniConfig(), seed=0)
    write_mini(network, tmp_path / "packed.safetensors", int8=True)
    assert (tmp_path / "packed.safetensors").stat().st_size < 24 * 2**20


@pytest.mark.parametrize(("int8", "tolerance"), [(False, 1e-2), (True, 1e-1)])
def test_a_file_gives_the_network_again(network, images, tmp_path, int8, tolerance):
    write_mini(network, tmp_path / FILE_NAME, int8=int8)
    again = read_mini(tmp_path)
    assert again.config == SMALL and not again.training
    before, after = (each.decode_symmetric(each.encode(images)) for each in (network, again))
    for name in ("points1", "points2"):
        truth = getattr(before, name)
        assert (getattr(after, name) - truth).norm() / (truth - truth.mean(dim=(1, 2), keepdim=True)).norm() < tolerance


def test_bad_files_are_refused_in_a_sentence(network, tmp_path):
    with pytest.raises(WeightsError, match="--preset mini"):
        read_mini(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_mini(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="no network 'mini'"):
        read_mini(path)
    save_file({"x": torch.zeros(1)}, path, metadata={"format": "dust3r_sfm mini 1", "config": "{}"})
    with pytest.raises(WeightsError, match="does not hold"):
        read_mini(path)
    config = '{"encoder_width": 1000000}'
    save_file({"x": torch.zeros(1)}, path, metadata={"format": "dust3r_sfm mini 1", "config": config})
    with pytest.raises(WeightsError, match="damaged"):
        read_mini(path)
    broken = random_mini(SMALL, seed=0)
    with torch.no_grad():
        broken.project.weight[0, 0] = torch.nan
    write_mini(broken, path)
    with pytest.raises(WeightsError, match="finite"):
        read_mini(path)


def test_pictures_that_do_not_fit_are_refused(network, images):
    with pytest.raises(InputError, match="16-pixel patches"):
        network.encode(images[:, :, :40])
    with pytest.raises(InputError, match="portrait tensors"):
        network.encode(images, torch.tensor([[64, 48]] * 4))
