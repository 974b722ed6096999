"""Images to tokens."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from dust3r_sfm.network.orientation import Rows, per_orientation
from dust3r_sfm.network.precision import in_full_precision


class PatchEmbed(nn.Module):
    """One token per patch, row by row over the photograph in its true orientation."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(3, width, patch_size, stride=patch_size)

    def forward(self, images: Float[Tensor, "b 3 h w"], transposed: Bool[Tensor, " b"]) -> Float[Tensor, "b n c"]:
        """Tokens of each image; `transposed` says which are stored with swapped axes."""

        def embed(rows: Rows, swapped: bool) -> Tensor:
            chosen = images[rows]
            return in_full_precision(self.proj, chosen.mT if swapped else chosen).flatten(2).mT

        return per_orientation(transposed, embed)
