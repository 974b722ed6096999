"""Pairs of photographs with exact pointmaps, as many as asked for."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from dust3r_sfm.synthetic.generator.bank import TextureBank
from dust3r_sfm.synthetic.generator.cameras import Cameras, choose_pairs, draw_cameras
from dust3r_sfm.synthetic.generator.cast import cast
from dust3r_sfm.synthetic.generator.draw import draw_scenes
from dust3r_sfm.synthetic.generator.scenes import Scenes
from dust3r_sfm.synthetic.generator.sensor import photograph
from dust3r_sfm.synthetic.generator.shade import shade
from dust3r_sfm.types import Size

_RAYS_AT_ONCE = {"cpu": 25_000, "cuda": 1_000_000}
"""So that the distances to all objects stay in a processor's cache, or within a GPU's memory: chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Two views of each of n scenes.

    Attributes:
        images: RGB in [-1, 1].
        points: what each pixel shows, in its own camera's frame.
        valid: where that is known; nowhere in the sky.
        sky: where the sky is.
        cam2_from_cam1: pose of the second camera.
    """

    images: Float32[Tensor, "n 2 3 h w"]
    points: Float32[Tensor, "n 2 h w 3"]
    valid: Bool[Tensor, "n 2 h w"]
    sky: Bool[Tensor, "n 2 h w"]
    cam2_from_cam1: Float64[Tensor, "n 3 4"]


def make_pairs(seed: int | tuple[int, ...], count: int, size: Size, bank: TextureBank, device: torch.device) -> Pairs:
    """Draw scenes and cameras and render them, on a device.

    Args:
        seed: everything follows from it.
        count: pairs.
        size: (width, height) of the pictures.
        bank: the pictures that surfaces show, on the device.
        device: where to compute.
    """
    rng = np.random.default_rng(seed)
    drawn, kind = draw_scenes(rng, count, len(bank))
    scenes = drawn.to(device)
    cameras = choose_pairs(rng, scenes, draw_cameras(rng, kind, scenes))
    colours, points, valid, sky = render(scenes, cameras, size, bank)
    first, second = (cameras.at(slice(None), torch.tensor(view)) for view in (0, 1))
    return Pairs(
        images=torch.unflatten(photograph(rng, colours.flatten(0, 1)), 0, (count, 2)),
        points=points,
        valid=valid,
        sky=sky,
        cam2_from_cam1=second.from_other(first),
    )


def render(
    scenes: Scenes, cameras: Cameras, size: Size, bank: TextureBank
) -> tuple[
    Float32[Tensor, "n 2 3 h w"], Float32[Tensor, "n 2 h w 3"], Bool[Tensor, "n 2 h w"], Bool[Tensor, "n 2 h w"]
]:
    """Linear colours, points in each camera's frame, where they are known, and where the sky is."""
    width, height = size
    flat = cameras.flat()
    scene = torch.arange(len(scenes), device=flat.focal.device).repeat_interleave(2)
    together = max(1, _RAYS_AT_ONCE.get(flat.focal.device.type, 25_000) // (width * height))
    parts = [
        _render(scenes.select(part), flat.at(slice(first, first + len(part))), size, bank)
        for first, part in zip(range(0, len(scene), together), torch.split(scene, together), strict=True)
    ]
    colours, points, valid, sky = (
        torch.unflatten(torch.unflatten(torch.cat(part), 1, (height, width)), 0, (-1, 2))
        for part in zip(*parts, strict=True)
    )
    return colours.movedim(-1, 2), points, valid, sky


def _render(scenes: Scenes, cameras: Cameras, size: Size, bank: TextureBank) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same for one camera per scene, pixels in a row."""
    own, directions = cameras.directions(size)
    hits = cast(scenes, cameras.centre, directions)
    width = 1 / (cameras.focal * max(size))
    colours = shade(scenes, bank, hits, cameras.centre, directions, width)
    points = (hits.distance[..., None] * own).where(hits.known[..., None], 0.0).float()
    return colours, points, hits.known, hits.sky
