"""Pairs: repeatable, exact across views, overlapping, and different from each other."""

import numpy as np
import pytest
import torch
from PIL import Image

from dust3r_sfm.errors import InputError
from dust3r_sfm.synthetic.generator.bank import SIDE_TEXELS, TextureBank, folder_pictures
from dust3r_sfm.synthetic.generator.pairs import make_pairs
from dust3r_sfm.synthetic.generator.warps import make_warps

CPU = torch.device("cpu")
SIZE = (48, 32)


@pytest.fixture(scope="module")
def pairs(bank):
    return make_pairs(5, 24, SIZE, bank, CPU)


def in_first(pairs):
    """Points of the second views in the first cameras' frames, and where they land in the first pictures."""
    pose = pairs.cam2_from_cam1
    moved = (pairs.points[:, 1].double().flatten(1, 2) - pose[:, None, :, 3]) @ pose[..., :3]
    return moved.unflatten(1, SIZE[::-1])


def focals(points, valid):
    """Focal length in pixels from a pointmap."""
    x = torch.arange(SIZE[0]) + 0.5 - SIZE[0] / 2
    f = x * points[..., 2] / points[..., 0]
    return torch.stack([one[ok].median() for one, ok in zip(f, valid, strict=True)])


def test_the_same_seed_gives_the_same_pairs(pairs, bank):
    again = make_pairs(5, 24, SIZE, bank, CPU)
    assert all(torch.equal(value, getattr(again, name)) for name, value in vars(pairs).items())
    other = make_pairs(6, 24, SIZE, bank, CPU)
    assert not torch.equal(other.images, pairs.images)


def test_pictures_and_maps_are_sound(pairs):
    assert pairs.images.min() >= -1 and pairs.images.max() <= 1
    assert pairs.images.flatten(2).std(-1).median() > 0.1
    assert not (pairs.valid & pairs.sky).any()
    assert (pairs.valid | pairs.sky).float().mean() > 0.99  # rays that graze uneven ground stay open
    assert pairs.points[..., 2][pairs.valid].min() > 0.05
    rotation = pairs.cam2_from_cam1[..., :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(24, 3, 3))
    assert (torch.linalg.det(rotation) > 0).all()


def test_what_both_views_see_is_the_same_point(pairs):
    """A point of view 2 that lands in view 1 lies at view 1's depth there, or behind it."""
    points, agreeing = in_first(pairs), []
    focal = focals(pairs.points[:, 0], pairs.valid[:, 0])
    for k in range(24):
        p = points[k][pairs.valid[k, 1]]
        p = p[p[:, 2] > 0.05]
        xy = focal[k] * p[:, :2] / p[:, 2:] + torch.tensor(SIZE) / 2
        column, row = xy.floor().long().unbind(-1)
        inside = (column >= 0) & (column < SIZE[0]) & (row >= 0) & (row < SIZE[1])
        seen = pairs.points[k, 0][row[inside], column[inside], 2]
        valid = pairs.valid[k, 0][row[inside], column[inside]]
        ratio = (p[inside, 2] / seen)[valid]
        agreeing.append(((ratio - 1).abs() < 0.05).sum().item() / pairs.valid[k, 1].sum().item())
        assert (ratio < 0.7).float().mean() < 0.1  # nothing stands before what view 1 sees, but at outlines
    assert np.median(agreeing) > 0.2 and np.mean(np.array(agreeing) > 0.05) > 0.9
    assert np.std(agreeing) > 0.1


def test_views_differ_in_pose_and_focal(pairs):
    trace = pairs.cam2_from_cam1[..., :3].diagonal(dim1=-2, dim2=-1).sum(-1)
    angle = torch.rad2deg(((trace - 1) / 2).clamp(-1, 1).arccos())
    assert angle.median() > 5 and angle.max() < 120
    focal = focals(pairs.points[:, 0], pairs.valid[:, 0]) / max(SIZE)
    assert focal.min() > 0.5 and focal.max() < 2.3 and focal.std() > 0.2


@pytest.fixture
def photographs(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(3):
        coarse = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC).save(tmp_path / f"{k}.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    return tmp_path


def test_photographs_become_surfaces(photographs, tmp_path):
    pictures = folder_pictures(photographs, np.random.default_rng(0), 10)
    assert [picture.shape for picture in pictures] == [(SIDE_TEXELS, SIDE_TEXELS, 3)] * 3
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no photograph"):
        folder_pictures(tmp_path / "none", np.random.default_rng(0), 10)


def test_warps_of_a_photograph_lie_in_one_plane(photographs):
    bank = TextureBank(folder_pictures(photographs, np.random.default_rng(0), 10))
    pairs = make_warps(1, 6, SIZE, bank, CPU)
    points = torch.stack([pairs.points[:, 0].double(), in_first(pairs)], dim=1).flatten(1, 3)
    valid = pairs.valid.flatten(1)
    assert valid.float().mean() > 0.97
    for k in range(6):
        p = points[k][valid[k]]
        spread = torch.linalg.svdvals(p - p.mean(0))
        assert spread[2] / spread[1] < 1e-6
    assert make_warps(1, 6, SIZE, bank, CPU).images.equal(pairs.images)


def test_a_texture_seen_from_afar_is_its_mean(bank):
    where = torch.tensor([3, 3])
    uv = torch.tensor([[100.0, 40.0], [-412.0, 552.0]], dtype=torch.float64)
    near = bank.look_up(where, uv, torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(near[0], near[1])  # mirrored and repeated: the same texel
    far = bank.look_up(where[:1], uv[:1], torch.full((1,), 1e4, dtype=torch.float64))
    rows = torch.cartesian_prod(torch.arange(0, 256, 8), torch.arange(0, 256, 8)).double()
    mean = bank.look_up(torch.full((1024,), 3), rows, torch.ones(1024, dtype=torch.float64)).mean(0)
    assert (far[0] - mean).abs().max() < 0.15
