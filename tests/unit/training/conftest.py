"""Small scenes with exact truth, and networks that train in a moment."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dust3r_sfm.network.config import NetworkConfig
from dust3r_sfm.training.presets import Preset
from dust3r_sfm.training.schedule import Schedule
from dust3r_sfm.training.view import TrainingView


def wall_view(x: float, width: int = 96, height: int = 64, focal: float = 80.0, name: str = "view") -> TrainingView:
    """A camera at (x, 0, 0) that looks along z at a textured wall, z = 4 + 0.25 · x of the world."""
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    column, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    slope = (column - width / 2) / focal
    depth = (4 + 0.25 * x) / (1 - 0.25 * slope)
    world_x, world_y = x + slope * depth, (row - height / 2) / focal * depth
    texture = np.stack([np.sin(5 * world_x), np.cos(4 * world_y), np.sin(3 * (world_x + world_y))], axis=-1)
    return TrainingView(
        name=name,
        pixels=np.round(127.5 + 120 * texture).astype(np.uint8),
        depth=depth.astype(np.float32),
        intrinsics=intrinsics,
        cam_from_world=np.column_stack([np.eye(3), [-x, 0.0, 0.0]]),
    )


@pytest.fixture(scope="session")
def make_view():
    return wall_view


@pytest.fixture
def tiny_preset() -> Preset:
    return Preset(
        name="tiny",
        config=NetworkConfig(
            image_size=(32, 48),
            encoder_width=32,
            encoder_depth=2,
            encoder_heads=2,
            decoder_width=32,
            decoder_depth=2,
            decoder_heads=2,
            head="linear",
        ),
        start="",
        sizes=((48, 32),),
        schedule=Schedule(peak=1e-3, floor=1e-5, warmup=0.2, epochs=2.0),
        batch_size=2,
        accumulation=2,
        pairs_per_epoch=16,
    )


class Walls:
    """A source of pairs of walls; every number gives another pair."""

    name, margin = "walls", 4

    def __init__(self, size: int = 12) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def pair(self, index, rng):
        return wall_view(0.1 * index), wall_view(0.1 * index + 0.3)


@pytest.fixture(scope="session")
def make_source():
    return Walls


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path):
    """Photographs with depth maps and poses.json."""
    (tmp_path / "images").mkdir()
    (tmp_path / "depth").mkdir()
    poses = {}
    for index in range(4):
        view = wall_view(0.4 * index)
        Image.fromarray(view.pixels).save(tmp_path / "images" / f"{index}.png")
        np.save(tmp_path / "depth" / f"{index}.npy", view.depth)
        fx, cx, cy = view.intrinsics[0, 0], *view.intrinsics[:2, 2]
        camera = {"model": "PINHOLE", "width": 96, "height": 64, "params": [fx, fx, cx, cy]}
        poses[f"{index}.png"] = {
            "qvec_cam_from_world": [1, 0, 0, 0],
            "tvec": view.cam_from_world[:, 3].tolist(),
            "camera": camera,
        }
    (tmp_path / "poses.json").write_text(json.dumps(poses))
    return tmp_path
