"""Pictures for surfaces, procedural or photographs, each at every level of detail."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, UInt8
from numpy.random import Generator
from torch import Tensor

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.find import find_images
from dust3r_sfm.synthetic import textures

SIDE_TEXELS = 256
"""Side of a picture: chosen by hand."""
_NUM_LEVELS = 7
"""Of its pyramid, down to 4 texels."""


class TextureBank:
    """Square pictures of one side, and their halves down to a few texels.

    Args:
        pictures: RGB (256, 256, 3) each.
    """

    def __init__(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> None:
        pyramid = [torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()]
        while len(pyramid) < _NUM_LEVELS:
            pyramid.append(torch.nn.functional.avg_pool2d(pyramid[-1], 2))
        self._texels = torch.cat(
            [level.permute(0, 2, 3, 1).reshape(-1, 3).round().to(torch.uint8) for level in pyramid]
        )
        sides = torch.tensor([SIDE_TEXELS >> level for level in range(_NUM_LEVELS)])
        self._first = torch.cat([torch.zeros(1, dtype=torch.int64), (len(pictures) * sides.square()).cumsum(0)[:-1]])
        self._count = len(pictures)

    def __len__(self) -> int:
        return self._count

    def to(self, device: torch.device) -> "TextureBank":
        """Move the pictures."""
        self._texels, self._first = self._texels.to(device), self._first.to(device)
        return self

    def look_up(
        self, picture: Int64[Tensor, "*n"], uv: Float64[Tensor, "*n 2"], footprint: Float64[Tensor, "*n"]
    ) -> Float32[Tensor, "*n 3"]:
        """Colours (0 to 1), interpolated between texels and levels; pictures repeat mirrored.

        Args:
            picture: which.
            uv: position in texels of the finest level.
            footprint: texels that a ray covers.
        """
        level = footprint.clamp_min(1).log2().clamp_max(_NUM_LEVELS - 1.001).float()
        fine = level.long()
        share = (level - fine)[..., None]
        # Reduced before the change to float32, in which a large number has no room for a place between texels.
        wrapped = uv.remainder(2 * SIDE_TEXELS)
        mirrored = torch.minimum(wrapped, 2 * SIDE_TEXELS - wrapped).float()
        return torch.lerp(self._level(picture, mirrored, fine), self._level(picture, mirrored, fine + 1), share)

    def _level(
        self, picture: Int64[Tensor, "*n"], uv: Float32[Tensor, "*n 2"], level: Int64[Tensor, "*n"]
    ) -> Float32[Tensor, "*n 3"]:
        side = SIDE_TEXELS >> level
        first = self._first[level] + picture * side * side
        last = (side - 1)[..., None]
        place = (uv * (side[..., None] / SIDE_TEXELS) - 0.5).clamp_min(0).minimum(last)
        low = place.long()
        share = place - low
        high = (low + 1).minimum(last)
        row0, row1 = first + low[..., 1] * side, first + high[..., 1] * side
        upper = torch.lerp(self._at(row0 + low[..., 0]), self._at(row0 + high[..., 0]), share[..., :1])
        lower = torch.lerp(self._at(row1 + low[..., 0]), self._at(row1 + high[..., 0]), share[..., :1])
        return torch.lerp(upper, lower, share[..., 1:])

    def _at(self, index: Int64[Tensor, "*n"]) -> Float32[Tensor, "*n 3"]:
        return self._texels.index_select(0, index.flatten()).view(*index.shape, 3).float() / 255


def procedural_pictures(rng: Generator, count: int) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """Paint stone, brick, wood, plaster, posters, checks, stripes and noise, about as many of each."""
    return [_as_bytes(_painted(rng, number % 10)) for number in range(count)]


def folder_pictures(folder: Path, rng: Generator, count: int) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """Cut squares out of the photographs of a folder.

    Raises:
        InputError: the folder holds no photograph that can be read.
    """
    names = find_images(folder)
    chosen = rng.permutation(len(names))[:count] if len(names) > count else np.arange(len(names))
    pictures = [picture for index in chosen for picture in _squares(folder / names[index], rng)]
    if not pictures:
        raise InputError(f"{folder} holds no photograph that can be read; --textures needs some.", path=folder)
    return pictures


def _squares(path: Path, rng: Generator) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """One random square of at least half the photograph's height or width; none where it cannot be read."""
    encoded = np.fromfile(path, np.uint8)
    pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB) if len(encoded) else None
    if pixels is None:
        return []
    side = int(min(pixels.shape[:2]) * rng.uniform(0.5, 1.0))
    top, left = (int(rng.integers(length - side + 1)) for length in pixels.shape[:2])
    part = pixels[top : top + side, left : left + side]
    return [np.asarray(cv2.resize(part, (SIDE_TEXELS, SIDE_TEXELS), interpolation=cv2.INTER_AREA), np.uint8)]


def _painted(rng: Generator, kind: int) -> textures.Picture:
    size = (SIDE_TEXELS, SIDE_TEXELS)
    match kind:
        case 0:
            return textures.slabs(rng, size, cell=int(rng.integers(20, 90)))
        case 1:
            return textures.bricks(rng, size, course=int(rng.integers(10, 30)))
        case 2:
            return textures.planks(rng, size, board=int(rng.integers(16, 60)))
        case 3:
            return textures.plaster(rng, size)
        case 4:
            return textures.marble(rng, size, stone=int(rng.integers(len(textures.STONES))))
        case 5 | 6:
            return textures.poster(rng, size)
        case 7:
            return _checks(rng)
        case 8:
            return _dead_leaves(rng)
        case _:
            return _noise(rng)


def _noise(rng: Generator) -> textures.Picture:
    """A power law of the frequency, coloured along a random axis."""
    tone = textures.noise(rng, (SIDE_TEXELS, SIDE_TEXELS), coarsest=int(rng.choice([64, 128, 256])))
    return np.asarray(0.5 + 0.16 * tone[..., None] * rng.uniform(0.5, 1.2, 3) + rng.uniform(-0.2, 0.2, 3), np.float32)


def _checks(rng: Generator) -> textures.Picture:
    """Checks or stripes of two colours, at an angle."""
    angle, cell = rng.uniform(0, np.pi), rng.uniform(8, 48)
    column, row = np.meshgrid(np.arange(SIDE_TEXELS), np.arange(SIDE_TEXELS))
    u = (np.cos(angle) * column + np.sin(angle) * row) / cell
    v = (np.cos(angle) * row - np.sin(angle) * column) / cell
    odd = np.floor(u) % 2 != (np.floor(v) % 2 if rng.uniform() < 0.6 else 0)
    colours = rng.uniform(0.05, 0.95, (2, 3)).astype(np.float32)
    grain = 1 + 0.06 * textures.noise(rng, (SIDE_TEXELS, SIDE_TEXELS), coarsest=32)
    return np.asarray(colours[odd.astype(int)] * grain[..., None])


def _dead_leaves(rng: Generator) -> textures.Picture:
    """Discs of power-law size that cover each other: the statistics of clutter."""
    picture = np.full((SIDE_TEXELS, SIDE_TEXELS, 3), rng.uniform(0, 1, 3), np.float32)
    for _ in range(400):
        radius = int(4 / np.sqrt(rng.uniform(0.004, 1)))
        centre = rng.integers(0, SIDE_TEXELS, 2).tolist()
        cv2.circle(picture, centre, radius, rng.uniform(0.02, 0.98, 3).tolist(), -1)
    return picture


def _as_bytes(picture: textures.Picture) -> UInt8[np.ndarray, "_ _ 3"]:
    return np.asarray(255 * np.clip(picture, 0, 1) + 0.5, np.uint8)
