"""Pairs of cameras in random scenes, chosen by how much of one view the other sees."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from numpy.random import Generator
from torch import Tensor

from dust3r_sfm.synthetic.generator.cast import cast
from dust3r_sfm.synthetic.generator.draw import ROOM
from dust3r_sfm.synthetic.generator.scenes import Scenes
from dust3r_sfm.synthetic.generator.search import nearest_object
from dust3r_sfm.types import Size

_NUM_CANDIDATES = 5
"""Cameras of a scene that its pair is chosen from: chosen by hand."""
_COARSE_SIDE_RAYS = 7
"""Rays across a picture that say how much two cameras share: chosen by hand."""
_FIELD_OF_VIEW_DEGREES = (25.0, 85.0)
"""Range along the longer side: chosen by hand."""
_OVERLAP_SHARES, _MIN_OVERLAP_SHARE = (0.15, 0.95), 0.05
"""Shares of a picture that the other sees: what is drawn, and what a pair must have: chosen by hand."""
_SAME_FOCAL_SHARE, _PORTRAIT_SHARE, _IDENTICAL_SHARE = 0.7, 0.12, 0.05
"""Of the pairs: chosen by hand."""
_MIN_DISTANCE_METRES = 0.25
"""Nearest thing that a camera may look at: chosen by hand."""
_HIDDEN_BELOW_OF_DISTANCE = 0.98
"""A surface in front of so much of the way hides what lies behind: chosen by hand."""
_MAX_SURFACE_SHARE = 0.9
"""Largest share of a picture that may show a single surface: chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Cameras:
    """Pinhole cameras with the principal point in the middle.

    Attributes:
        world_from_cam: rotation; columns are the camera's axes in the world.
        centre: place in the world.
        focal: in picture heights and widths of 1 (the picture's longer side).
    """

    world_from_cam: Float64[Tensor, "*c 3 3"]
    centre: Float64[Tensor, "*c 3"]
    focal: Float64[Tensor, "*c"]

    def at(self, *index: Tensor | slice) -> "Cameras":
        """Some of the cameras."""
        return Cameras(world_from_cam=self.world_from_cam[index], centre=self.centre[index], focal=self.focal[index])

    def flat(self) -> "Cameras":
        """All in one row."""
        return Cameras(
            world_from_cam=self.world_from_cam.flatten(0, -3),
            centre=self.centre.flatten(0, -2),
            focal=self.focal.flatten(),
        )

    def from_other(self, other: "Cameras") -> Float64[Tensor, "*c 3 4"]:
        """Pose of each camera in the frame of its other: own_from_other."""
        linear = self.world_from_cam.mT @ other.world_from_cam
        offset = self.world_from_cam.mT @ (other.centre - self.centre)[..., None]
        return torch.cat([linear, offset], dim=-1)

    def directions(self, size: Size) -> tuple[Float64[Tensor, "*c n 3"], Float64[Tensor, "*c n 3"]]:
        """Rays through the pixel centres, row by row, with z = 1: in the camera's frame, and in the world's."""
        width, height = size
        device = self.focal.device
        x = torch.arange(width, dtype=torch.float64, device=device) + 0.5 - width / 2
        y = torch.arange(height, dtype=torch.float64, device=device) + 0.5 - height / 2
        grid = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], dim=-1).reshape(-1, 2)
        flat = grid / (self.focal[..., None, None] * max(size))
        own = torch.cat([flat, torch.ones_like(flat[..., :1])], dim=-1)
        return own, own @ self.world_from_cam.mT


def draw_cameras(rng: Generator, kind: Int64[np.ndarray, " s"], scenes: Scenes) -> Cameras:
    """Candidates in each scene, around a common place and looking to a common point (s, c)."""
    count, shell = len(kind), scenes.shell_half_size.cpu().numpy()
    shape = (count, _NUM_CANDIDATES)
    target = rng.normal(size=(count, 1, 3)) * [0.5, 0.5, 0.25] + [0, 0, 0.7]
    azimuth = rng.uniform(0, 2 * np.pi, (count, 1))
    # Walls stand at +y: who looks at them stands at -y.
    walled = (~scenes.is_open[:, 2].cpu().numpy() & (kind != ROOM))[:, None]
    azimuth = np.where(walled, -np.pi / 2 + rng.normal(0, 0.5, (count, 1)), azimuth)
    spread = np.radians(np.exp(rng.uniform(np.log(4), np.log(45), (count, 1))))
    azimuth = azimuth + spread * rng.normal(size=shape)
    elevation = np.radians(rng.uniform(-5, 45, (count, 1))) + 0.35 * spread * rng.normal(size=shape)
    distance = np.exp(rng.uniform(np.log(1.4), np.log(6), (count, 1)) + 0.2 * rng.normal(size=shape))
    offset = np.stack(
        [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)], axis=-1
    )
    centre = target + distance[..., None] * offset
    ground = 2 * scenes.waves[..., 3].sum(-1).cpu().numpy()[:, None] + 0.2
    reach = 0.92 * shell[:, None]
    centre[..., :2] = np.clip(centre[..., :2], -reach[..., :2], reach[..., :2])
    centre[..., 2] = np.clip(centre[..., 2], ground, 2 * reach[..., 2])
    aim = target + rng.normal(size=(*shape, 3)) * 0.12 * distance[..., None]
    fov = np.radians(np.array(_FIELD_OF_VIEW_DEGREES))
    low, high = np.log(0.5 / np.tan(fov / 2))[::-1]
    focal = np.exp(rng.uniform(low, high, shape))
    focal = np.where(rng.uniform(size=(count, 1)) < _SAME_FOCAL_SHARE, focal[:, :1], focal)
    roll = np.radians(5) * rng.normal(size=shape)
    roll += np.pi / 2 * rng.choice([-1, 1], (count, 1)) * (rng.uniform(size=(count, 1)) < _PORTRAIT_SHARE)
    tensors = (torch.from_numpy(values) for values in (_looking(aim - centre, roll), centre, focal))
    rotation, place, length = (values.to(scenes.light.device) for values in tensors)
    return Cameras(world_from_cam=rotation, centre=place, focal=length)


def choose_pairs(rng: Generator, scenes: Scenes, cameras: Cameras) -> Cameras:
    """Two candidates of each scene whose overlap is nearest to a drawn one (s, 2).

    Where no two see the same, both are the same camera.
    """
    count, num = cameras.focal.shape
    overlap, usable = _overlaps(scenes, cameras)
    overlap = torch.minimum(overlap, overlap.mT)
    wanted = torch.from_numpy(rng.uniform(*_OVERLAP_SHARES, (count, 1, 1))).to(overlap)
    both = usable[:, :, None] & usable[:, None] & (overlap > _MIN_OVERLAP_SHARE)
    both &= ~torch.eye(num, dtype=torch.bool, device=overlap.device)
    miss = (overlap - wanted).abs() + 10.0 * ~both
    best = miss.flatten(1).min(dim=1)
    first, second = best.indices // num, best.indices % num
    alone = usable.float().argmax(1)
    none = best.values > 5
    first = first.where(~none, alone)
    same = none | torch.from_numpy(rng.uniform(size=count) < _IDENTICAL_SHARE).to(none.device)
    second = second.where(~same, first)
    return cameras.at(torch.arange(count, device=first.device)[:, None], torch.stack([first, second], dim=1))


def _overlaps(scenes: Scenes, cameras: Cameras) -> tuple[Float64[Tensor, "s c c"], Bool[Tensor, "s c"]]:
    """Share of what camera i sees that camera j sees too, on a coarse grid; and which cameras see anything well."""
    count, num = cameras.focal.shape
    flat, scene = cameras.flat(), torch.arange(count, device=cameras.focal.device)
    per_camera = scenes.select(scene.repeat_interleave(num))
    _, directions = flat.directions((_COARSE_SIDE_RAYS, _COARSE_SIDE_RAYS))
    hits = cast(per_camera, flat.centre, directions)
    start = (per_camera.unit_from_world[..., :3] @ flat.centre[:, None, :, None])[..., 0]
    start = (start + per_camera.unit_from_world[..., 3]).abs()
    free = (start.amax(-1) > 1).all(-1)  # of the box around each object
    clear = (hits.distance.where(hits.known, torch.inf) > _MIN_DISTANCE_METRES).all(-1)
    filling = (hits.surface == hits.surface.mode(-1, keepdim=True).values).double().mean(-1)
    usable = free & clear & (hits.known.double().mean(-1) > 0.3) & (filling < _MAX_SURFACE_SHARE)
    points = torch.unflatten(flat.centre[:, None] + hits.distance[..., None] * directions, 0, (count, num))
    away = points[:, :, None] - cameras.centre[:, None, :, None]  # (s, i, j, n, 3)
    seen = away @ cameras.world_from_cam[:, None]
    reach = cameras.focal[:, None, :, None] * seen[..., :2].abs().amax(-1)
    inside = (seen[..., 2] > 0) & (reach < 0.5 * seen[..., 2])
    # Camera j looks at the points of all cameras i.
    nearest, _ = nearest_object(per_camera, flat.centre, away.transpose(1, 2).flatten(2, 3).flatten(0, 1))
    free_path = (nearest > _HIDDEN_BELOW_OF_DISTANCE).view(count, num, num, -1).transpose(1, 2)
    known = hits.known.view(count, num, 1, -1)
    visible = (inside & free_path & known).double().sum(-1)
    return visible / known.sum(-1).clamp_min(1), usable.view(count, num)


def _looking(heading: Float64[np.ndarray, "*c 3"], roll: Float64[np.ndarray, "*c"]) -> Float64[np.ndarray, "*c 3 3"]:
    """Axes of cameras that look along a heading, level but for their roll."""
    forward = heading / np.linalg.norm(heading, axis=-1, keepdims=True)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True).clip(1e-9)
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll)[..., None], np.sin(roll)[..., None]
    axes = [cosine * right + sine * down, cosine * down - sine * right, forward]
    rotation: Float64[np.ndarray, "*c 3 3"] = np.stack(axes, axis=-1)
    return rotation
