"""A small exactly known scene, and smooth made-up predictions of any size."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.images.resize import Grid, network_grid
from dust3r_sfm.scene_file import write_scene
from dust3r_sfm.synthetic.sample import true_scene
from dust3r_sfm.synthetic.shots import plan_shots
from dust3r_sfm.synthetic.surfaces import Quad, Sphere
from dust3r_sfm.synthetic.world import World
from dust3r_sfm.types import ImageSet, PairPrediction, Scene, View


@pytest.fixture(scope="session")
def known_scene(tmp_path_factory) -> tuple[Path, Scene, ImageSet]:
    """Path of scene.h5, the scene, and its photographs (files without a picture in them)."""
    folder = tmp_path_factory.mktemp("known")
    ground = Quad(corner=np.array([-6.0, 6, 0]), side_u=np.array([12.0, 0, 0]), side_v=np.array([0, -12.0, 0]))
    surfaces = [ground, Sphere(centre=np.array([0.0, 0, 0.8]), radius=0.8)]
    shots = plan_shots(7, (128, 96), np.random.default_rng(0))
    world = World(surfaces, [np.zeros((32, 32, 3), np.uint8)] * 2)
    scene = true_scene(world, shots, folder, Grid(size=64))
    views = []
    for shot in shots:
        network_size, network_from_image = network_grid(shot.size, shot.orientation, Grid(size=64))
        (folder / shot.name).write_bytes(b"photograph")
        views.append(
            View(
                name=shot.name,
                path=folder / shot.name,
                size=shot.size,
                orientation=shot.orientation,
                network_size=network_size,
                network_from_image=network_from_image,
                focal_prior=None,
                camera_group=0,
            )
        )
    write_scene(folder / "scene.h5", scene)
    return folder / "scene.h5", scene, ImageSet(root=folder, views=tuple(views))


@pytest.fixture
def make_prediction() -> Callable[..., PairPrediction]:
    def make(height: int = 24, width: int = 32, seed: int = 0, descriptors: int = 0) -> PairPrediction:
        rng = np.random.default_rng(seed)
        rows, columns = np.mgrid[:height, :width] / max(height, width)
        depth = rng.uniform(1, 5) * (1 + 0.3 * np.sin(7 * rows + rng.uniform(0, 6)) * np.cos(5 * columns))
        points = np.stack([(columns - 0.5) * depth, (rows - 0.5) * depth, depth], axis=-1).astype(np.float32)
        confidence = (1 + np.exp(rng.standard_normal((height, width)))).astype(np.float32)
        features = rng.standard_normal((height, width, descriptors)).astype(np.float32) if descriptors else None
        return PairPrediction(
            points1=points,
            confidence1=confidence,
            points2=points + np.float32(0.3),
            confidence2=confidence[::-1].copy(),
            descriptors1=features,
            descriptors2=features,
        )

    return make
