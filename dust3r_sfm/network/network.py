"""The two-image network of DUSt3R and MASt3R: two photographs in, two pointmaps in the first camera's frame out."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dust3r_sfm.errors import InputError
from dust3r_sfm.network.backbone import Backbone
from dust3r_sfm.network.blocks import DecoderBlock
from dust3r_sfm.network.config import NetworkConfig
from dust3r_sfm.network.features import Features, ViewPart
from dust3r_sfm.network.heads import Head, make_head
from dust3r_sfm.network.heads.activations import activate_confidence, activate_descriptors, activate_points
from dust3r_sfm.network.heads.dpt import DptHead
from dust3r_sfm.network.orientation import Rows, grid_positions, per_orientation, stored_transposed
from dust3r_sfm.network.precision import full_precision
from dust3r_sfm.network.rope import RopeTable
from dust3r_sfm.network.source import WeightsSource


@dataclass(frozen=True, kw_only=True)
class NetworkPrediction:
    """Dense maps of a batch of pairs, laid out as the images were passed.

    Attributes:
        points1: points of image 1's pixels in camera 1's frame (b, h1, w1, 3).
        confidence1: their confidence (b, h1, w1).
        points2: points of image 2's pixels, in camera 1's frame as well (b, h2, w2, 3).
        confidence2: their confidence (b, h2, w2).
        descriptors1, descriptors2: unit matching descriptors (MASt3R).
        descriptor_confidence1, descriptor_confidence2: their confidence (MASt3R).
    """

    points1: Float[Tensor, "b h1 w1 3"]
    confidence1: Float[Tensor, "b h1 w1"]
    points2: Float[Tensor, "b h2 w2 3"]
    confidence2: Float[Tensor, "b h2 w2"]
    descriptors1: Float[Tensor, "b h1 w1 d"] | None = None
    descriptors2: Float[Tensor, "b h2 w2 d"] | None = None
    descriptor_confidence1: Float[Tensor, "b h1 w1"] | None = None
    descriptor_confidence2: Float[Tensor, "b h2 w2"] | None = None


class Network(Backbone):
    """DUSt3R (Wang et al. 2024) or MASt3R (Leroy et al. 2024), by its configuration.

    Each image is encoded once (`encode`); each directed pair costs one `decode`. What an image contributes to its pairs
    alone is kept in its `Features` and computed for its first pair only.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.source: WeightsSource | None = None
        """Where the weights came from; None for a network that no file was loaded into."""
        self.full_precision_heads = True
        """The heads ignore autocast. Where False they follow it: faster, with about twice the rounding error."""
        self.dec_blocks2 = self.make_decoder()
        self.downstream_head1 = make_head(config)
        self.downstream_head2 = make_head(config)

    def encode(self, images: Float[Tensor, "b 3 h w"], true_shape: Int[Tensor, "k 2"] | None = None) -> Features:
        """Encode photographs, each by itself.

        Args:
            images: RGB in [-1, 1], both sides multiples of the patch size.
            true_shape: (height, width) of each photograph. Only needed where a landscape tensor holds portrait ones
                with swapped axes (so that both orientations share a batch); their maps come out with swapped axes too.

        Raises:
            InputError: sides that are no multiples of the patch, or shapes that do not fit.
        """
        transposed = stored_transposed(images, true_shape, self.config.patch_size)
        grid = (images.shape[-2] // self.config.patch_size, images.shape[-1] // self.config.patch_size)
        positions = grid_positions(grid, transposed, images.device)
        tokens = self.encode_tokens(self.embed(images, transposed), positions)
        return Features(tokens=tokens, grid=grid, transposed=transposed)

    def decode(self, features1: Features, features2: Features) -> NetworkPrediction:
        """Predict the directed pairs (features1[k], features2[k]); all maps are in the first images' camera frames.

        Raises:
            InputError: batches of different length.
        """
        if len(features1) != len(features2):
            raise InputError(f"{len(features1)} first and {len(features2)} second images do not make pairs.")
        layers1, layers2 = self.decode_tokens(features1, features2)
        return NetworkPrediction(**self._maps(1, layers1, features1), **self._maps(2, layers2, features2))

    def forward(
        self,
        images1: Float[Tensor, "b 3 h1 w1"],
        images2: Float[Tensor, "b 3 h2 w2"],
        true_shape1: Int[Tensor, "k 2"] | None = None,
        true_shape2: Int[Tensor, "k 2"] | None = None,
    ) -> NetworkPrediction:
        """Encode both images of each pair and decode: see `encode` and `decode`."""
        return self.decode(self.encode(images1, true_shape1), self.encode(images2, true_shape2))

    def part(self, features: Features, view: int) -> ViewPart:
        """What the images contribute alone as view 1 or 2; computed once and kept in `features`."""
        if view not in features.parts:
            tokens = features.tokens.to(self.mask_token.dtype)
            projected = self.project(tokens)
            features.parts[view] = ViewPart(
                projected=projected,
                inside=self._blocks(view)[0].look_inside(projected, self._rope(features)),
                skip=self._skip(view, tokens, features),
            )
        return features.parts[view]

    def decode_tokens(self, features1: Features, features2: Features) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens of both images at every depth: the encoder's, then each decoder block's; the last normalized."""
        part1, part2 = self.part(features1, 1), self.part(features2, 2)
        rope1, rope2 = self._rope(features1), self._rope(features2)
        tokens1, tokens2 = part1.projected, part2.projected
        layers1, layers2 = ([features.tokens.to(tokens1.dtype)] for features in (features1, features2))
        for depth, (block1, block2) in enumerate(zip(self._blocks(1), self._blocks(2), strict=True)):
            inside1 = block1.look_inside(tokens1, rope1) if depth else part1.inside
            inside2 = block2.look_inside(tokens2, rope2) if depth else part2.inside
            # Both sides look at the other's previous depth.
            tokens1, tokens2 = (
                block1.look_across(inside1, tokens2, rope1, rope2),
                block2.look_across(inside2, tokens1, rope2, rope1),
            )
            layers1.append(tokens1)
            layers2.append(tokens2)
        layers1[-1], layers2[-1] = self.dec_norm(tokens1), self.dec_norm(tokens2)
        return layers1, layers2

    def _blocks(self, view: int) -> list[DecoderBlock]:
        return [cast(DecoderBlock, block) for block in (self.dec_blocks if view == 1 else self.dec_blocks2)]

    def _head(self, view: int) -> Head:
        return self.downstream_head1 if view == 1 else self.downstream_head2

    def _head_precision(self, device: torch.device) -> AbstractContextManager[object]:
        return full_precision(device) if self.full_precision_heads else nullcontext()

    def _rope(self, features: Features) -> RopeTable:
        return self.decoder_rope(grid_positions(features.grid, features.transposed, features.tokens.device))

    def _skip(self, view: int, tokens: Tensor, features: Features) -> Tensor | None:
        """The level of a DPT head that one image decides, stored as the images are."""
        head = self._head(view)
        if not isinstance(head, DptHead):
            return None

        def run(rows: Rows, swapped: bool) -> Tensor:
            level: Tensor = head.skip(tokens[rows], features.grid[::-1] if swapped else features.grid)
            return level.mT if swapped else level

        with self._head_precision(tokens.device):
            return per_orientation(features.transposed, run)

    def _maps(self, view: int, layers: Sequence[Tensor], features: Features) -> dict[str, Tensor]:
        """Head and activations of one view, as fields of `NetworkPrediction`."""
        head, level = self._head(view), self.part(features, view).skip

        def run(rows: Rows, swapped: bool) -> Tensor:
            chosen = [tokens[rows] for tokens in layers]
            skip = None if level is None else level[rows]
            if swapped:
                turned: Tensor = head(chosen, features.grid[::-1], None if skip is None else skip.mT)
                return turned.mT
            upright: Tensor = head(chosen, features.grid, skip)
            return upright

        with self._head_precision(features.tokens.device):
            raw = per_orientation(features.transposed, run).permute(0, 2, 3, 1).float()
        config = self.config
        maps = {
            "points": activate_points(raw[..., :3], config.depth_mode),
            "confidence": activate_confidence(raw[..., 3], config.confidence_mode),
        }
        if config.descriptor_size:
            own = config.descriptor_confidence_mode
            maps["descriptors"] = activate_descriptors(raw[..., 4 : 4 + config.descriptor_size])
            maps["descriptor_confidence"] = (
                activate_confidence(raw[..., -1], own) if own else maps["confidence"].clone()
            )
        return {f"{name}{view}": value for name, value in maps.items()}
