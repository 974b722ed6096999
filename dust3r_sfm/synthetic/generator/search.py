"""Which object of its scene each ray meets first, in float32: in PyTorch, or in one kernel where a GPU proves it."""

import logging
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from dust3r_sfm.synthetic.generator.scenes import NUM_BOXES, NUM_ELLIPSOIDS, Scenes
from dust3r_sfm.synthetic.generator.spans import TINY, box_span, cylinder_span, round_span

Search = Callable[[Tensor, Tensor, int, int], tuple[Tensor, Tensor]]

NEAREST_METRES = 1e-3
"""Crossings closer than this do not count: chosen by hand."""
_SAME_DISTANCE_TOLERANCE = 1e-4
"""Absolute and relative: chosen by hand."""
_MAX_DIFFERING_SHARE = 1e-3
"""Of the rays, at outlines, whose answer depends on the order of float32 sums: chosen by hand."""

logger = logging.getLogger("dust3r_sfm")


def nearest_object(
    scenes: Scenes, origins: Float64[Tensor, "c 3"], directions: Float64[Tensor, "c n 3"]
) -> tuple[Float32[Tensor, "c n"], Int64[Tensor, "c n"]]:
    """Distance to the nearest object (infinite without one) and its number.

    Args:
        scenes: one per camera.
        origins: where the rays of each camera start.
        directions: of any length.
    """
    kept = scenes.is_present.any(dim=0).nonzero()[:, 0]
    frames = scenes.unit_from_world[:, kept]
    start = frames[..., :3] @ origins[:, None, :, None] + frames[..., 3:]
    frames = torch.cat([frames[..., :3], start], dim=-1).float()
    bounds = torch.searchsorted(kept, kept.new_tensor([NUM_BOXES, NUM_BOXES + NUM_ELLIPSOIDS])).tolist()
    search = fused_search() if directions.is_cuda else search_objects
    distance, index = search(frames, directions.float(), bounds[0], bounds[1])
    return distance, kept[index]


def search_objects(
    frames: Float32[Tensor, "c k 3 4"], directions: Float32[Tensor, "c n 3"], first_ball: int, first_cylinder: int
) -> tuple[Float32[Tensor, "c n"], Int64[Tensor, "c n"]]:
    """Distance to the nearest object (infinite without one) and its row.

    Args:
        frames: of each camera's objects, boxes, balls and cylinders in this order; the last column is the rays' start
            in the object's frame.
        directions: of the rays, in the world.
        first_ball, first_cylinder: where these begin.
    """
    start = frames[..., 3].mT[..., None]  # (c, 3, k, 1)
    matrices = frames[..., :3].transpose(1, 2).flatten(1, 2)
    heading = torch.unflatten(matrices @ directions.mT, 1, (3, -1))  # (c, 3, k, n)
    balls, cylinders = slice(first_ball, first_cylinder), slice(first_cylinder, None)
    spans = (
        box_span(start[:, :, :first_ball], heading[:, :, :first_ball]),
        round_span(start[:, :, balls], heading[:, :, balls]),
        cylinder_span(start[:, :, cylinders], heading[:, :, cylinders]),
    )
    distances = torch.cat(
        [enter.where((enter < leave) & (enter > NEAREST_METRES), torch.inf) for enter, leave in spans], dim=1
    )
    found = distances.min(dim=1)
    return found.values, found.indices


@cache
def fused_search() -> Search:
    """The kernel, if Triton is here and its answers on this GPU are PyTorch's; else `search_objects`."""
    try:
        from dust3r_sfm.synthetic.generator.fused import nearest_fused

        def search(frames: Tensor, directions: Tensor, first_ball: int, first_cylinder: int) -> tuple[Tensor, Tensor]:
            return nearest_fused(frames, directions, first_ball, first_cylinder, NEAREST_METRES, TINY)

        if agree(search, torch.device("cuda")):
            return search
        logger.warning("The fused ray caster differs from PyTorch on this GPU; scenes are rendered by PyTorch, slower.")
    except Exception as error:  # whatever a compiler may raise; nothing is lost but speed
        logger.warning("The fused ray caster does not run here (%s); scenes are rendered by PyTorch, slower.", error)
    return search_objects


def agree(search: Search, device: torch.device) -> bool:
    """Whether a search gives PyTorch's answers on random objects and rays."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(3, 9, 3, 4, generator=generator).to(device)
    frames[..., 3] *= 2
    directions = torch.randn(3, 5000, 3, generator=generator).to(device)
    answers = [one(frames, directions, 3, 6) for one in (search, search_objects)]
    (found, index), (truth, true_index) = answers
    differs = (index != true_index) & truth.isfinite()
    differs |= ~torch.isclose(found, truth, rtol=_SAME_DISTANCE_TOLERANCE, atol=_SAME_DISTANCE_TOLERANCE)
    return float(differs.float().mean()) < _MAX_DIFFERING_SHARE
