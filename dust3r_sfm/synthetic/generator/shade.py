"""Colours of what rays meet: textures, one light with shadows, a highlight, the sky."""

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from dust3r_sfm.synthetic.generator.bank import TextureBank
from dust3r_sfm.synthetic.generator.cast import Hits
from dust3r_sfm.synthetic.generator.scenes import Scenes
from dust3r_sfm.synthetic.generator.search import nearest_object

_SHADOW_MARGIN_OF_DISTANCE = 2e-3
"""So near to its point a surface throws no shadow on it: chosen by hand."""
_HIGHLIGHT_EXPONENT = 20
"""Of Blinn's model: chosen by hand."""
_MIN_SLANT_COSINE = 0.15
"""A footprint is stretched by no smaller one: blurring further would cost more detail than aliasing does. Chosen by
hand."""


def shade(
    scenes: Scenes,
    bank: TextureBank,
    hits: Hits,
    origins: Float64[Tensor, "c 3"],
    directions: Float64[Tensor, "c n 3"],
    ray_width: Float64[Tensor, " c"],
) -> Float32[Tensor, "c n 3"]:
    """Linear colours, about 0 to 1.

    Args:
        scenes: one per camera.
        bank: the pictures that materials name.
        hits: the answer of `cast`.
        origins, directions: of the rays.
        ray_width: angle between neighbouring rays.
    """
    length = directions.norm(dim=-1)
    points = origins[:, None] + hits.distance[..., None] * directions
    heading = directions / length[..., None]
    slant = -(hits.normal * heading).sum(-1)
    texture, density, gloss = (
        values.gather(1, hits.surface) for values in (scenes.texture, scenes.density, scenes.gloss)
    )
    footprint = hits.distance * length * ray_width[:, None] * density / slant.clamp(_MIN_SLANT_COSINE, 1).sqrt()
    uv = _across(hits) * density[..., None] + _of(scenes.shift, hits)
    albedo = bank.look_up(texture, uv, footprint.nan_to_num(1, 1, 1)).square()  # pictures are gamma-coded, light is not
    albedo = (_of(scenes.bias, hits).float() + _of(scenes.gain, hits).float() * albedo).clamp(0.01, 1.2)
    to_light = torch.nn.functional.normalize(scenes.light[:, None] - points, dim=-1)
    facing = (hits.normal * to_light).sum(-1)
    direct = (facing.clamp_min(0) * is_lit(scenes, points)).float()[..., None]
    halfway = torch.nn.functional.normalize(to_light - heading, dim=-1)
    shine = (hits.normal * halfway).sum(-1).clamp_min(0).pow(_HIGHLIGHT_EXPONENT) * gloss
    sun = scenes.sun.float()[:, None]
    # Light from everywhere comes more from above; it keeps shadows from being flat.
    ambient = scenes.ambient.float()[:, None] * (0.75 + 0.25 * hits.normal[..., 2:].float())
    colour = albedo * (ambient + sun * direct) + sun * direct * shine.float()[..., None]
    height = heading[..., 2:].clamp(0, 1).sqrt().float()
    sky = torch.lerp(scenes.sky[:, None, 0].float(), scenes.sky[:, None, 1].float(), height)
    return colour.where(~hits.sky[..., None], sky)


def is_lit(scenes: Scenes, points: Float64[Tensor, "c n 3"]) -> Bool[Tensor, "c n"]:
    """Which points see the light; rays start there, so that they share an origin."""
    reach, _ = nearest_object(scenes, scenes.light, points - scenes.light[:, None])
    return reach > 1 - _SHADOW_MARGIN_OF_DISTANCE


def _across(hits: Hits) -> Float64[Tensor, "c n 2"]:
    """The two coordinates of a place that its surface does not face."""
    others = torch.tensor([[1, 2], [0, 2], [0, 1]], device=hits.facing.device)
    return hits.place.gather(-1, others[hits.facing])


def _of(values: Float64[Tensor, "c m d"], hits: Hits) -> Float64[Tensor, "c n d"]:
    return values.gather(1, hits.surface[..., None].expand(-1, -1, values.shape[-1]))
