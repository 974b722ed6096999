"""The DPT head (Vision Transformers for Dense Prediction, Ranftl et al. 2021)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from dust3r_sfm.network.config import NetworkConfig
from dust3r_sfm.network.heads.linear import NUM_CHANNELS, tokens_to_map
from dust3r_sfm.network.precision import in_full_precision

Map = Float[Tensor, "b c h w"]
AnyMap = Float[Tensor, "b _ _ _"]


class DptHead(nn.Module):
    """Tokens of four depths, refined from coarse to fine into a map of the image's size."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.dpt = Dpt(config)
        depth = config.decoder_depth
        self.levels = (depth // 2, depth * 3 // 4, depth)

    def skip(self, tokens: Float[Tensor, "b n c"], grid: tuple[int, int]) -> AnyMap:
        """The finest level, which reads the encoder's tokens only: the same for every pair of the image."""
        return self.dpt.finest(tokens_to_map(tokens, grid))

    def forward(
        self, layers: Sequence[Float[Tensor, "b n _"]], grid: tuple[int, int], skip: AnyMap
    ) -> Float[Tensor, "b 4 h w"]:
        """Raw maps from the tokens of each depth (encoder output first) and the finest level `skip`."""
        out: Tensor = self.dpt([tokens_to_map(layers[level], grid) for level in self.levels], skip)
        return out


class Dpt(nn.Module):
    """The convolutional part; level 1 is the finest (4 pixels), level 4 the coarsest (32 pixels)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        fused, one, two, three, four, last = config.dpt_widths
        encoder_width, decoder_width = config.encoder_width, config.decoder_width
        self.scratch = Scratch(fused, (one, two, three, four))
        self.head = nn.Sequential(
            nn.Conv2d(fused, last, 3, padding=1),
            Upsample(),
            nn.Conv2d(last, last, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(last, NUM_CHANNELS, 1),
        )
        self.act_postprocess = nn.ModuleList(
            (
                nn.Sequential(nn.Conv2d(encoder_width, one, 1), nn.ConvTranspose2d(one, one, 4, stride=4)),
                nn.Sequential(nn.Conv2d(decoder_width, two, 1), nn.ConvTranspose2d(two, two, 2, stride=2)),
                nn.Sequential(nn.Conv2d(decoder_width, three, 1)),
                nn.Sequential(nn.Conv2d(decoder_width, four, 1), nn.Conv2d(four, four, 3, stride=2, padding=1)),
            )
        )

    def finest(self, tokens: AnyMap) -> AnyMap:
        """Level 1 up to where it meets the coarser ones."""
        level: Tensor = self.scratch.layer1_rn(self.act_postprocess[0](tokens))
        out: Tensor = self.scratch.refinenet1.resConfUnit1(level)
        return out

    def forward(self, tokens: Sequence[AnyMap], finest: AnyMap) -> Float[Tensor, "b 4 _ _"]:
        """Raw maps from the token maps of levels 2 to 4 and the finished level 1."""
        scratch = self.scratch
        two, three, four = (
            reduce(process(level))
            for reduce, process, level in zip(scratch.layer_rn[1:], self.act_postprocess[1:], tokens, strict=True)
        )
        # An odd token grid rounds up at level 4: its upsampled map is one row or column too large.
        path = scratch.refinenet4(four)[..., : three.shape[-2], : three.shape[-1]]
        path = scratch.refinenet3(path + scratch.refinenet3.resConfUnit1(three))
        path = scratch.refinenet2(path + scratch.refinenet2.resConfUnit1(two))
        path = scratch.refinenet1(path + finest)
        return in_full_precision(self.head[-1], self.head[:-1](path))


class Scratch(nn.Module):
    """The layers that bring each level to one width, and those that fuse the levels."""

    def __init__(self, fused: int, levels: Sequence[int]) -> None:
        super().__init__()
        reduced = [nn.Conv2d(width, fused, 3, padding=1, bias=False) for width in levels]
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = reduced
        # The published files name these four twice.
        self.layer_rn = nn.ModuleList(reduced)
        self.refinenet1, self.refinenet2, self.refinenet3, self.refinenet4 = (Fusion(fused) for _ in levels)


class Fusion(nn.Module):
    """Refine a sum of levels and double its resolution.

    `resConfUnit1` refines the finer level before the sum; the coarsest fusion has one that nothing feeds, kept because
    the published files hold its weights.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(width, width, 1)
        self.resConfUnit1 = ResidualUnit(width)
        self.resConfUnit2 = ResidualUnit(width)
        self.upsample = Upsample()

    def forward(self, x: Map) -> Float[Tensor, "b c _ _"]:
        """Map of twice the height and width."""
        # The 1x1 convolution commutes with the interpolation; before it, it costs a quarter.
        out: Tensor = self.upsample(self.out_conv(self.resConfUnit2(x)))
        return out


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Map) -> Map:
        """Refined map of the same size."""
        out: Tensor = x + self.conv2(relu(self.conv1(relu(x))))
        return out


class Upsample(nn.Module):
    """Twice the resolution, by bilinear interpolation that keeps the corners in place."""

    def forward(self, x: Map) -> Float[Tensor, "b c _ _"]:
        """Map of twice the height and width."""
        return interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
