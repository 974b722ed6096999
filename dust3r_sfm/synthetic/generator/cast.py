"""Rays against scenes: which surface each ray meets first, and where.

All rays of a camera start at one point. The nearest object is found in float32, the distance to it in float64.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from dust3r_sfm.synthetic.generator.relief import meet_relief
from dust3r_sfm.synthetic.generator.scenes import (
    FLOOR,
    NUM_BOXES,
    NUM_ELLIPSOIDS,
    NUM_OBJECTS,
    Scenes,
)
from dust3r_sfm.synthetic.generator.search import nearest_object
from dust3r_sfm.synthetic.generator.spans import box_span, cylinder_span, round_span, slab


@dataclass(frozen=True, kw_only=True)
class Hits:
    """What rays meet.

    Attributes:
        distance: in lengths of the ray's direction; meaningless where not `known`.
        surface: number of the surface: objects first, then faces of the shell.
        normal: unit normal towards the ray's start, in the world.
        place: the point in the metric frame of its surface, where its texture lives.
        facing: axis of that frame which the surface there faces most.
        known: the distance is exact.
        sky: the ray leaves through an open face.
    """

    distance: Float64[Tensor, "c n"]
    surface: Int64[Tensor, "c n"]
    normal: Float64[Tensor, "c n 3"]
    place: Float64[Tensor, "c n 3"]
    facing: Int64[Tensor, "c n"]
    known: Bool[Tensor, "c n"]
    sky: Bool[Tensor, "c n"]


def cast(scenes: Scenes, origins: Float64[Tensor, "c 3"], directions: Float64[Tensor, "c n 3"]) -> Hits:
    """Find what each ray meets first: an object, the relief, or the shell around them.

    Args:
        scenes: one per camera.
        origins: inside the shell, above the relief and outside of all objects.
        directions: of any length; with z = 1 in a camera's frame the distance is the depth.
    """
    coarse, index = nearest_object(scenes, origins, directions)
    hit = coarse.isfinite()
    distance, normal, unit, missed = _refined(scenes, index, origins, directions)
    half_size = _rows(scenes.half_size, index)
    wall, wall_normal, wall_unit, face = _shell(scenes, origins, directions)
    behind = ~hit | missed | (wall < distance)
    distance, surface = distance.where(~behind, wall), index.where(~behind, NUM_OBJECTS + face)
    normal = normal.where(~behind[..., None], wall_normal)
    place = (unit * half_size).where(~behind[..., None], wall_unit * scenes.shell_half_size[:, None])
    known = ~(hit & missed)
    if scenes.waves[..., 3].any():
        ground, ground_normal, on_ground, settled = meet_relief(scenes.waves, origins, directions, distance)
        distance, surface = distance.where(~on_ground, ground), surface.masked_fill(on_ground, FLOOR)
        normal = normal.where(~on_ground[..., None], ground_normal)
        points = origins[:, None] + distance[..., None] * directions
        place = place.where(~on_ground[..., None], points)
        known &= settled
    sky = (surface >= NUM_OBJECTS) & scenes.is_open.gather(1, (surface - NUM_OBJECTS).clamp_min(0))
    facing = _in_frame(scenes, surface, normal).abs().argmax(-1)
    towards = (normal * directions).sum(-1, keepdim=True) > 0
    return Hits(
        distance=distance,
        surface=surface,
        normal=normal.where(~towards, -normal),
        place=place,
        facing=facing,
        known=known & ~sky,
        sky=sky & known,
    )


def _in_frame(scenes: Scenes, surface: Int64[Tensor, "c n"], normal: Float64[Tensor, "c n 3"]) -> Tensor:
    """Normals along the axes of their surface's frame."""
    frames = torch.cat([scenes.unit_from_world, scenes.shell_from_world[:, None]], dim=1)[..., :3]
    chosen = torch.unflatten(_rows(frames.flatten(2), surface.clamp_max(NUM_OBJECTS)), -1, (3, 3))
    return torch.nn.functional.normalize(chosen, dim=-1).matmul(normal[..., None])[..., 0]


def _rows(values: Float64[Tensor, "c k _"], index: Int64[Tensor, "c n"]) -> Float64[Tensor, "c n _"]:
    """The row of its object for each ray."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


def _refined(
    scenes: Scenes, index: Int64[Tensor, "c n"], origins: Float64[Tensor, "c 3"], directions: Float64[Tensor, "c n 3"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distance to the chosen objects, unit normal, point in their unit frame, and where they are missed after all."""
    frame = torch.unflatten(_rows(scenes.unit_from_world.flatten(2), index), -1, (3, 4))
    linear = frame[..., :3]
    start = (linear @ origins[:, None, :, None])[..., 0] + frame[..., 3]
    heading = (linear @ directions[..., None])[..., 0]
    start, heading = start.movedim(-1, 1), heading.movedim(-1, 1)
    is_box, is_round = index < NUM_BOXES, index >= NUM_BOXES + NUM_ELLIPSOIDS
    spans = [span(start, heading) for span in (box_span, round_span, cylinder_span)]
    enter, leave = (
        box.where(is_box, cylinder.where(is_round, ball)) for box, ball, cylinder in zip(*spans, strict=True)
    )
    unit = start + enter[:, None] * heading
    # A box faces along its outermost axis; a cylinder too, where its lids are farther out than its side.
    outermost = torch.nn.functional.one_hot(unit.abs().argmax(1), 3).movedim(-1, 1) * unit.sign()
    on_lid = unit[:, 2].abs() > unit[:, :2].norm(dim=1)
    side = torch.cat([unit[:, :2], torch.zeros_like(unit[:, 2:])], dim=1)
    lid = torch.cat([torch.zeros_like(unit[:, :2]), unit[:, 2:].sign()], dim=1)
    normal = unit.where(~is_box[:, None], outermost)
    normal = normal.where(~is_round[:, None], lid.where(on_lid[:, None], side))
    world = (linear.mT @ normal.movedim(1, -1)[..., None])[..., 0]
    return enter, torch.nn.functional.normalize(world, dim=-1), unit.movedim(1, -1), ~(enter < leave)


def _shell(
    scenes: Scenes, origins: Float64[Tensor, "c 3"], directions: Float64[Tensor, "c n 3"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distance to the shell from inside, unit normal, point in its unit frame, and the number of the face."""
    linear = scenes.shell_from_world[..., :3]
    start = (linear @ origins[..., None])[..., 0] + scenes.shell_from_world[..., 3]
    heading = directions @ linear.mT
    _, leave = slab(start[:, None], heading)
    distance, axis = leave.min(dim=-1)
    unit = start[:, None] + distance[..., None] * heading
    # In the order +x -x +y -y -z +z: the floor before the ceiling.
    positive = unit.gather(-1, axis[..., None])[..., 0] > 0
    face = 2 * axis + (positive == (axis == 2)).long()
    normal = torch.nn.functional.normalize(_rows(linear, axis), dim=-1)
    return distance, normal, unit, face
