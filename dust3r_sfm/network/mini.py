"""A small network of our own: symmetric, and told which tokens match.

Beside the faithful networks: the same prediction comes out, but both views share all weights, one pass answers both
directions, and explicit matches between the encoder's tokens steer the cross-attention.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from dust3r_sfm.errors import InputError, WeightsError
from dust3r_sfm.network.blocks import EncoderBlock, layer_norm
from dust3r_sfm.network.heads.activations import activate_confidence, activate_points
from dust3r_sfm.network.mini_parts import CONFIDENCE_MODE, DEPTH_MODE, PATCH, MatchedBlock, MiniHead, Stem
from dust3r_sfm.network.network import NetworkPrediction
from dust3r_sfm.network.orientation import grid_positions, stored_transposed
from dust3r_sfm.network.precision import full_precision
from dust3r_sfm.network.rope import RopeTable, rope_table

_ROPE_BASE = 100.0
"""Base of the rotary frequencies: as in DUSt3R."""
_MAX_LOG_DEPTH = 8.0
"""Where the logarithm of a depth is cut, so that its exponential stays a number in half precision: chosen by hand."""
_START_MATCH_SCALE = 10.0
"""What cosines of tokens are multiplied with before their softmax, at the start of training: chosen by hand."""
_MAX_WIDTH_CHANNELS, _MAX_DEPTH_BLOCKS = 4096, 64
"""Far beyond any network, far below what would fill the memory of who builds it: chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class MiniConfig:
    """Sizes of a small network; the defaults are 24 million parameters, 23 MiB in 8 bits.

    Attributes:
        encoder_width, encoder_depth: the encoder; heads have 64 channels.
        decoder_width, decoder_depth: the decoder that both views share.
        head_channels: of the convolutions that make the maps.
        descriptor_size: channels that tokens are matched by.
        head_width: channels of an attention head.
    """

    encoder_width: int = 384
    encoder_depth: int = 8
    decoder_width: int = 320
    decoder_depth: int = 5
    head_channels: int = 96
    descriptor_size: int = 64
    head_width: int = 64

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            largest = _MAX_DEPTH_BLOCKS if name.endswith("depth") else _MAX_WIDTH_CHANNELS
            smallest = 2 if name.endswith("depth") else 8
            if not isinstance(value, int) or not smallest <= value <= largest:
                raise WeightsError(f"{name} is {value!r}, which no network has; its configuration is damaged.")
        if self.head_width % 4 or self.encoder_width % self.head_width or self.decoder_width % self.head_width:
            raise WeightsError(
                f"Widths {self.encoder_width} and {self.decoder_width} do not divide into heads of {self.head_width} "
                "channels, a multiple of 4."
            )


@dataclass(frozen=True, kw_only=True)
class MiniFeatures:
    """Encoded images of one shape, made by `MiniNetwork.encode`.

    Attributes:
        tokens: encoder output.
        middle: tokens half way through the encoder.
        quarter, eighth: maps of the stem.
        descriptors: what tokens are matched by, of unit length.
    """

    tokens: Float[Tensor, "b n c"]
    middle: Float[Tensor, "b n c"]
    quarter: Float[Tensor, "b c4 h4 w4"]
    eighth: Float[Tensor, "b c8 h8 w8"]
    descriptors: Float[Tensor, "b n d"]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return self.eighth.shape[-2] // 2, self.eighth.shape[-1] // 2

    def select(self, rows: Sequence[int]) -> "MiniFeatures":
        """The features of some images of the batch, in the order asked for (repeats allowed)."""
        return MiniFeatures(**{name: value[list(rows)] for name, value in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class MiniPrediction(NetworkPrediction):
    """The maps, and what training compares besides.

    Attributes:
        matches: logits of token k of image 2 being what token n of image 1 shows (b, n1, n2).
    """

    matches: Float[Tensor, "b n1 n2"]


class MiniNetwork(nn.Module):
    """Two photographs in; of each its pointmap in its own frame and in the other's out.

    Args:
        config: the sizes.
    """

    def __init__(self, config: MiniConfig) -> None:
        super().__init__()
        self.config = config
        width, heads = config.encoder_width, config.encoder_width // config.head_width
        self.stem = Stem(width)
        self.enc_blocks = nn.ModuleList(EncoderBlock(width, heads, 4.0) for _ in range(config.encoder_depth))
        self.enc_norm = layer_norm(width)
        self.describe = nn.Linear(width, config.descriptor_size)
        self.match_scale = nn.Parameter(torch.tensor(_START_MATCH_SCALE).log())
        self.project = nn.Linear(width, config.decoder_width)
        self.dec_blocks = nn.ModuleList(
            MatchedBlock(config.decoder_width, config.decoder_width // config.head_width)
            for _ in range(config.decoder_depth)
        )
        self.dec_norm = layer_norm(config.decoder_width)
        self.head = MiniHead(2 * width + 2 * config.decoder_width, config.head_channels)

    def encode(self, images: Float[Tensor, "b 3 h w"], true_shape: Int[Tensor, "k 2"] | None = None) -> MiniFeatures:
        """Encode photographs, each by itself.

        Args:
            images: RGB in [-1, 1], both sides multiples of 16.
            true_shape: (height, width) of each; portraits come as portrait tensors here.

        Raises:
            InputError: sides that are no multiples of 16, or portraits stored transposed.
        """
        if stored_transposed(images, true_shape, PATCH).any():
            raise InputError(
                "This network takes portrait photographs as portrait tensors; use square crops in training."
            )
        tokens, quarter, eighth = self.stem(images)
        grid = (images.shape[-2] // PATCH, images.shape[-1] // PATCH)
        rope, middle = self._rope(grid, images.device), tokens
        for depth, block in enumerate(self.enc_blocks):
            if depth == len(self.enc_blocks) // 2:
                middle = tokens
            tokens = block(tokens, rope)
        tokens = self.enc_norm(tokens)
        descriptors = normalize(self.describe(tokens).float(), dim=-1)
        return MiniFeatures(tokens=tokens, middle=middle, quarter=quarter, eighth=eighth, descriptors=descriptors)

    def decode(self, features1: MiniFeatures, features2: MiniFeatures) -> tuple[MiniPrediction, MiniPrediction]:
        """Predict pairs (features1[k], features2[k]) and, in the same pass, (features2[k], features1[k])."""
        tokens1, tokens2 = self.project(features1.tokens), self.project(features2.tokens)
        ropes = tuple(self._rope(features.grid, tokens1.device) for features in (features1, features2))
        descriptors = (features1.descriptors, features2.descriptors)
        half = [tokens1, tokens2]
        for depth, block in enumerate(self.dec_blocks):
            if depth == len(self.dec_blocks) // 2:
                half = [tokens1, tokens2]
            tokens1, tokens2 = (
                block(tokens1, tokens2, ropes, descriptors),
                block(tokens2, tokens1, ropes[::-1], descriptors[::-1]),
            )
        first = self._maps(features1, half[0], tokens1)
        second = self._maps(features2, half[1], tokens2)
        matches = self._matches(*descriptors)
        return _directed(first, second, matches), _directed(second, first, matches.mT)

    def decode_symmetric(self, features: MiniFeatures) -> MiniPrediction:
        """Predict pairs (0, 1), (1, 0), (2, 3), (3, 2), … of a batch: what a symmetric batch of training compares."""
        partners = torch.arange(len(features), device=features.tokens.device) ^ 1
        rope, descriptors = self._rope(features.grid, features.tokens.device), features.descriptors
        tokens = half = self.project(features.tokens)
        for depth, block in enumerate(self.dec_blocks):
            if depth == len(self.dec_blocks) // 2:
                half = tokens
            tokens = block(tokens, tokens[partners], (rope, rope), (descriptors, descriptors[partners]))
        maps = self._maps(features, half, tokens)
        other = {name: value[partners] for name, value in maps.items()}
        return _directed(maps, other, self._matches(descriptors, descriptors[partners]))

    def _matches(self, first: Tensor, second: Tensor) -> Tensor:
        with full_precision(first.device):
            return self.match_scale.exp() * first @ second.mT

    def _rope(self, grid: tuple[int, int], device: torch.device) -> RopeTable:
        positions = grid_positions(grid, torch.zeros(1, dtype=torch.bool), device)
        return rope_table(positions, self.config.head_width, _ROPE_BASE)

    def _maps(self, features: MiniFeatures, half: Tensor, tokens: Tensor) -> dict[str, Tensor]:
        """Points of each image's pixels in its own frame and in the other image's, and their confidences."""
        taps = torch.cat([features.middle, features.tokens, half, self.dec_norm(tokens)], dim=-1)
        raw = self.head(taps, features.grid, features.eighth, features.quarter)
        raw = raw.permute(0, 2, 3, 1).float()
        depth = raw[..., 2:3].clamp_max(_MAX_LOG_DEPTH).exp()
        return {
            "own": torch.cat([raw[..., :2] * depth, depth], dim=-1),
            "own_confidence": activate_confidence(raw[..., 6], CONFIDENCE_MODE),
            "other": activate_points(raw[..., 3:6], DEPTH_MODE),
            "other_confidence": activate_confidence(raw[..., 7], CONFIDENCE_MODE),
        }


def _directed(first: dict[str, Tensor], second: dict[str, Tensor], matches: Tensor) -> MiniPrediction:
    return MiniPrediction(
        points1=first["own"],
        confidence1=first["own_confidence"],
        points2=second["other"],
        confidence2=second["other_confidence"],
        matches=matches,
    )


def random_mini(config: MiniConfig, seed: int) -> MiniNetwork:
    """A network with start values; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MiniNetwork(config)
        for module in network.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
                nn.init.zeros_(module.bias)
        # Residual branches begin small, the maps as a plane in front of the camera.
        for block in (*network.enc_blocks, *network.dec_blocks):
            with torch.no_grad():
                block.mlp.fc2.weight.mul_(0.3)
                block.attn.proj.weight.mul_(0.3)
        network.head.start()
    return network
