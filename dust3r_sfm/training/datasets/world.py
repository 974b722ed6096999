"""The synthetic world as a training set: batches without end, made on the training device."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from dust3r_sfm.synthetic.generator.bank import TextureBank, folder_pictures, procedural_pictures
from dust3r_sfm.synthetic.generator.pairs import Pairs, make_pairs
from dust3r_sfm.synthetic.generator.warps import make_warps
from dust3r_sfm.training.batch import Batch
from dust3r_sfm.training.losses import Target
from dust3r_sfm.types import Size

_NUM_PAINTED, _MAX_PHOTOGRAPHS = 80, 400
"""Pictures for surfaces: chosen by hand."""
_WARPED_SHARE = 0.12
"""Of the pairs, planar warps where there are photographs: chosen by hand."""


@dataclass(kw_only=True)
class World:
    """A training or validation set of the synthetic world; no pair comes twice, but with the same seed.

    Attributes:
        sizes: (width, height) of the pictures, multiples of the network's patch; every batch draws one.
        batch_size: pairs in a batch, before it is made symmetric.
        pairs_per_epoch: after how many pairs an epoch ends.
        seed: of all draws.
        device: where scenes are rendered.
        textures: folder of photographs for surfaces and planar warps, besides painted ones.
        broken: always empty: this world has no broken pair.
    """

    sizes: Sequence[Size]
    batch_size: int
    pairs_per_epoch: int
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    textures: Path | None = None
    broken: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        pictures = procedural_pictures(rng, _NUM_PAINTED)
        photographs = [] if self.textures is None else folder_pictures(self.textures, rng, _MAX_PHOTOGRAPHS)
        self._bank = TextureBank([*pictures, *photographs]).to(self.device)
        self._photographs = TextureBank(photographs).to(self.device) if photographs else None

    def batches_per_epoch(self, world_size: int = 1) -> int:
        """Batches that each of `world_size` processes sees."""
        return self.pairs_per_epoch // (self.batch_size * world_size)

    def batch(self, epoch: int, number: int, rank: int = 0, world_size: int = 1) -> Batch:
        """One batch of an epoch, for one of several processes, on the world's device."""
        size = self.sizes[int(np.random.default_rng((self.seed, epoch, number)).integers(len(self.sizes)))]
        seed = (self.seed, epoch, number, rank)
        num_warped = round(_WARPED_SHARE * self.batch_size) if self._photographs is not None else 0
        made = [make_pairs(seed, self.batch_size - num_warped, size, self._bank, self.device)]
        if self._photographs is not None and num_warped:
            made.append(make_warps((*seed, 1), num_warped, size, self._photographs, self.device))
        return symmetric_batch(
            Pairs(**{one.name: torch.cat([getattr(part, one.name) for part in made]) for one in fields(Pairs)})
        )


def symmetric_batch(pairs: Pairs) -> Batch:
    """Both directions of each pair: (a, b), (b, a), …"""
    count, (height, width) = len(pairs.images), pairs.images.shape[-2:]
    cam2_from_cam1 = pairs.cam2_from_cam1
    rotation = cam2_from_cam1[..., :3].mT
    cam1_from_cam2 = torch.cat([rotation, -rotation @ cam2_from_cam1[..., 3:]], dim=-1)
    in_other = torch.stack(
        [_moved(cam1_from_cam2, pairs.points[:, 1]), _moved(cam2_from_cam1, pairs.points[:, 0])], dim=1
    )
    images, valid, sky = pairs.images.flatten(0, 1), pairs.valid.flatten(0, 1), pairs.sky.flatten(0, 1)
    partners = torch.arange(2 * count, device=images.device) ^ 1
    shapes = torch.tensor([[height, width]]).expand(2 * count, -1)
    return Batch(
        images1=images,
        images2=images[partners],
        true_shape1=shapes,
        true_shape2=shapes,
        target=Target(
            points1=pairs.points.flatten(0, 1),
            points2=in_other.flatten(0, 1),
            valid1=valid,
            valid2=valid[partners],
            metric=torch.ones(2 * count, dtype=torch.bool, device=images.device),
            sky1=sky,
            sky2=sky[partners],
        ),
    )


def _moved(to_from: Float64[Tensor, "n 3 4"], points: Float[Tensor, "n h w 3"]) -> Float[Tensor, "n h w 3"]:
    turned = points.double().flatten(1, 2) @ to_from[..., :3].mT + to_from[:, None, :, 3]
    return turned.view(points.shape).float()
