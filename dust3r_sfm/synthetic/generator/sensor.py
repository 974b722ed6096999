"""What a camera makes of light: exposure, white balance, blur, noise, contrast, each view by itself."""

import numpy as np
import torch
from jaxtyping import Float32
from numpy.random import Generator
from torch import Tensor

_GAMMA = 2.2
"""Of displays, about sRGB's."""
_GREY_SHARE = 0.1
"""Of the pictures: chosen by hand."""


def photograph(rng: Generator, colours: Float32[Tensor, "v 3 h w"]) -> Float32[Tensor, "v 3 h w"]:
    """Turn linear colours into pictures, RGB in [-1, 1].

    Args:
        rng: of all draws.
        colours: linear, about 0 to 1.
    """
    device, count = colours.device, len(colours)

    def per_view(values: np.ndarray, channels: int = 1) -> Tensor:
        return torch.from_numpy(values.reshape(count, channels, 1, 1)).to(device, torch.float32)

    sparse = colours[..., ::4, ::4].mean(1).flatten(1)
    bright = sparse.quantile(0.85, dim=1).clamp_min(0.02)[:, None, None, None]
    exposure = per_view(np.exp(rng.normal(np.log(0.6), 0.3, count))) / bright
    balance = per_view(np.exp(rng.normal(0, 0.08, (count, 3))), 3)
    light = colours * exposure * balance * _vignette(colours, per_view(rng.uniform(0, 0.35, count)))
    light = _blurred(light, per_view(np.maximum(rng.uniform(-0.2, 0.25, count), 0)))
    contrast = per_view(np.exp(rng.normal(0, 0.15, count)) / _GAMMA)
    picture = light.clamp(1e-4, 1).pow(contrast)
    grey = per_view((rng.uniform(size=count) < _GREY_SHARE).astype(float))
    picture = picture.lerp(picture.mean(1, keepdim=True).expand_as(picture), grey)
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
    noise = torch.randn(picture.shape, generator=generator, device=device)
    picture = picture + noise * per_view(rng.uniform(0, 0.05, count) * (rng.uniform(size=count) < 0.7))
    return picture.clamp(0, 1) * 2 - 1


def _vignette(colours: Float32[Tensor, "v 3 h w"], strength: Float32[Tensor, "v 1 1 1"]) -> Float32[Tensor, "v 1 h w"]:
    height, width = colours.shape[-2:]
    y = torch.linspace(-1, 1, height, device=colours.device)
    x = torch.linspace(-1, 1, width, device=colours.device)
    return 1 - strength * (y[:, None].square() + x.square()) / 2


def _blurred(light: Float32[Tensor, "v 3 h w"], share: Float32[Tensor, "v 1 1 1"]) -> Float32[Tensor, "v 3 h w"]:
    """Give a share of each pixel to both neighbours, along rows and along columns."""
    for axis in (-1, -2):
        length = light.shape[axis]
        first, last = light.narrow(axis, 0, 1), light.narrow(axis, length - 1, 1)
        before = torch.cat([first, light.narrow(axis, 0, length - 1)], dim=axis)
        after = torch.cat([light.narrow(axis, 1, length - 1), last], dim=axis)
        light = light + share * (before + after - 2 * light)
    return light
