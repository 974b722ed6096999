"""The synthetic world as a training set."""

from collections import Counter

import pytest
import torch

from dust3r_sfm.training.datasets.world import World
from dust3r_sfm.training.supply import BatchSource, supply


@pytest.fixture(scope="module")
def world():
    return World(sizes=((48, 32), (32, 32)), batch_size=3, pairs_per_epoch=24, seed=4)


def test_a_batch_follows_from_its_number(world):
    assert isinstance(world, BatchSource)
    assert world.batches_per_epoch() == 8 and world.batches_per_epoch(2) == 4
    again = World(sizes=world.sizes, batch_size=3, pairs_per_epoch=24, seed=4)
    made = list(supply(world, epoch=1, first=5, num_workers=2))
    assert len(made) == 3
    for number, batch in enumerate(made, start=5):
        assert torch.equal(batch.images1, again.batch(1, number).images1)
    assert {tuple(world.batch(0, number).images1.shape[-2:]) for number in range(6)} == {(32, 48), (32, 32)}
    shapes = [world.batch(0, 0, rank, 2) for rank in (0, 1)]
    assert shapes[0].images1.shape == shapes[1].images1.shape
    assert not torch.equal(shapes[0].images1, shapes[1].images1)
    assert world.broken == Counter()


def test_both_directions_tell_the_same(world):
    batch, target = world.batch(0, 1), world.batch(0, 1).target
    assert len(batch) == 6
    partners = torch.arange(6) ^ 1
    assert torch.equal(batch.images2, batch.images1[partners])
    assert torch.equal(target.valid2, target.valid1[partners])
    # What view 2 is in view 1's frame and in its own differ by one rigid motion per pair.
    for row in range(6):
        valid = target.valid2[row]
        there, own = target.points2[row][valid].double(), target.points1[row ^ 1][valid].double()
        a, b = there - there.mean(0), own - own.mean(0)
        left, _, right = torch.linalg.svd(a.T @ b)
        assert (a - b @ (left @ right).T).norm(dim=-1).max() < 1e-4 * own.norm(dim=-1).max()
        assert torch.linalg.det(left @ right) > 0
