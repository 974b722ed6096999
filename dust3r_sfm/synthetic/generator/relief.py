"""Where rays meet a floor of a few waves: a march that cannot pass the first crossing."""

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

_NUM_ROUNDS, _NUM_STEPS = 8, 8
"""Of the march, and in each before rays that have arrived are put aside: chosen by hand."""
_ARRIVED_METRES = 1e-6
"""Height above the floor that counts as met: chosen by hand."""


def meet_relief(
    waves: Float64[Tensor, "c w 4"],
    origins: Float64[Tensor, "c 3"],
    directions: Float64[Tensor, "c n 3"],
    limit: Float64[Tensor, "c n"],
) -> tuple[Float64[Tensor, "c n"], Float64[Tensor, "c n 3"], Bool[Tensor, "c n"], Bool[Tensor, "c n"]]:
    """First crossing of each ray with the waves, before `limit`.

    Each step is the height above the floor over the fastest rate at which ray and floor can approach each other, so no
    crossing is passed; rays that graze the floor may not arrive, and are told apart.

    Returns:
        Distance; unit normal; which rays meet the floor first; and for which of all rays the answer is certain.
    """
    highest = 2 * waves[..., 3].sum(-1)
    drop = directions[..., 2]
    down = drop.where(drop.abs() > 1e-12, drop.new_tensor(1e-12))
    enter = ((highest - origins[:, 2])[:, None] / down).where(origins[:, 2:] > highest[:, None], 0.0)
    near = (highest[:, None] > 0) & (enter >= 0) & (enter < limit)
    near &= (drop < 0) | (origins[:, 2:] <= highest[:, None])
    camera, ray = near.nonzero(as_tuple=True)
    own, heading, last = waves[camera].permute(2, 1, 0), directions[camera, ray].mT, limit[camera, ray]
    start, moved = origins[camera].mT, enter[camera, ray]
    rate = heading[2].abs() + (own[:2].norm(dim=0) * own[3]).sum(0) * heading[:2].norm(dim=0)
    gap, busy = torch.zeros_like(moved), torch.arange(len(moved), device=moved.device)
    for _ in range(_NUM_ROUNDS):
        moved[busy], gap[busy] = _march(own[..., busy], start[:, busy], heading[:, busy], rate[busy], moved[busy])
        busy = busy[(gap[busy] > _ARRIVED_METRES) & (moved[busy] < last[busy])]
    point = start + moved * heading
    phase = own[0] * point[0] + own[1] * point[1] + own[2]
    slope = -(own[3] * own[:2] * phase.cos()).sum(1)
    up = torch.nn.functional.normalize(torch.cat([slope, torch.ones_like(slope[:1])]), dim=0).mT
    passed = moved >= last
    arrived = ~passed & (gap.abs() < _ARRIVED_METRES)
    distance, normal = limit.clone(), torch.zeros_like(directions)
    distance[camera, ray], normal[camera, ray] = moved, up
    on_ground, settled = torch.zeros_like(near), torch.ones_like(near)
    on_ground[camera, ray], settled[camera, ray] = arrived, arrived | passed
    return distance, normal, on_ground, settled


def _march(
    waves: Float64[Tensor, "4 w r"],
    start: Float64[Tensor, "3 r"],
    heading: Float64[Tensor, "3 r"],
    rate: Float64[Tensor, " r"],
    moved: Float64[Tensor, " r"],
) -> tuple[Float64[Tensor, " r"], Float64[Tensor, " r"]]:
    """Some steps forward; the distance moved, and the height above the floor before the last step."""
    # Along a ray the phase of a wave grows evenly.
    phase = waves[0] * start[0] + waves[1] * start[1] + waves[2]
    growth = waves[0] * heading[0] + waves[1] * heading[1]
    level = waves[3].sum(0)
    gap = moved
    for _ in range(_NUM_STEPS):
        wave = (waves[3] * torch.addcmul(phase, growth, moved).sin_()).sum(0)
        gap = start[2] + moved * heading[2] - level - wave
        moved = moved + gap / rate
    return moved, gap
