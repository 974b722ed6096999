"""Pairs of views of one flat picture: real photographs whose pointmaps are exact, because a plane's are."""

import numpy as np
import torch
from numpy.random import Generator
from scipy.spatial.transform import Rotation
from torch import Tensor

from dust3r_sfm.synthetic.generator.bank import SIDE_TEXELS, TextureBank
from dust3r_sfm.synthetic.generator.cameras import Cameras
from dust3r_sfm.synthetic.generator.pairs import Pairs
from dust3r_sfm.synthetic.generator.sensor import photograph
from dust3r_sfm.types import Size

_MAX_TILT_DEGREES = 50.0
"""Of a camera from the normal of the plane: chosen by hand."""
_FOCAL_OF_LONGER_SIDE = (0.55, 2.2)
"""Range of focal lengths, over the picture's longer side: chosen by hand."""
_MIN_SLANT_COSINE = 0.15
"""See `shade`: chosen by hand."""


def make_warps(seed: int | tuple[int, ...], count: int, size: Size, bank: TextureBank, device: torch.device) -> Pairs:
    """Draw planes and cameras, and warp pictures of the bank into both views (a homography between them).

    The plane is z = 0; a picture covers 2 × 2 units of it and goes on mirrored, so that every pixel is known.

    Args:
        seed: everything follows from it.
        count: pairs.
        size: (width, height) of the views.
        bank: photographs, on the device.
        device: where to compute.
    """
    rng = np.random.default_rng(seed)
    width, height = size
    cameras = _cameras(rng, count, device)
    picture = torch.from_numpy(rng.integers(len(bank), size=count)).to(device)
    own, directions = cameras.directions(size)
    distance = -cameras.centre[..., None, 2] / directions[..., 2]
    known = distance > 0
    place = cameras.centre[..., None, :2] + distance[..., None] * directions[..., :2]
    length = directions.norm(dim=-1)
    slant = (directions[..., 2].abs() / length).clamp_min(_MIN_SLANT_COSINE)
    texels = distance * length / (cameras.focal * max(size))[..., None] * SIDE_TEXELS / 2 / slant.sqrt()
    colours = bank.look_up(picture[:, None, None].expand(texels.shape), (place + 1) * SIDE_TEXELS / 2, texels).square()
    points = (distance[..., None] * own).where(known[..., None], 0.0).float()
    grid = (height, width)
    shaped = torch.unflatten(colours * known[..., None], 2, grid).movedim(-1, 2)
    first, second = (cameras.at(slice(None), torch.tensor(view)) for view in (0, 1))
    return Pairs(
        images=torch.unflatten(photograph(rng, shaped.flatten(0, 1)), 0, (count, 2)),
        points=torch.unflatten(points, 2, grid),
        valid=torch.unflatten(known, 2, grid),
        sky=torch.zeros(count, 2, *grid, dtype=torch.bool, device=device),
        cam2_from_cam1=second.from_other(first),
    )


def _cameras(rng: Generator, count: int, device: torch.device) -> Cameras:
    """Two cameras per plane that look at places near its origin, at up to 50 degrees from its normal."""
    focal = np.exp(
        rng.uniform(np.log(_FOCAL_OF_LONGER_SIDE[0]), np.log(_FOCAL_OF_LONGER_SIDE[1]), (count, 1))
    ) * np.exp(0.1 * rng.normal(size=(count, 2)))
    tilt, turn = rng.uniform(0, np.radians(_MAX_TILT_DEGREES), (count, 2)), rng.uniform(0, 2 * np.pi, (count, 2))
    roll = np.radians(12) * rng.normal(size=(count, 2))
    # Axes of a camera in front of the plane: z towards it, then tilted, seen from any side.
    angles = np.stack([turn, tilt, roll - turn], axis=-1).reshape(-1, 3)
    rotation = Rotation.from_euler("ZXZ", angles).as_matrix().reshape(count, 2, 3, 3)
    away = focal * np.exp(rng.uniform(-0.3, 0.5, (count, 2))) * 1.4
    aim = np.concatenate([0.35 * rng.normal(size=(count, 2, 2)), np.zeros((count, 2, 1))], axis=-1)
    centre = aim - away[..., None] * rotation[..., 2]
    tensors: list[Tensor] = [torch.from_numpy(values).to(device) for values in (rotation, centre, focal)]
    return Cameras(world_from_cam=tensors[0], centre=tensors[1], focal=tensors[2])
