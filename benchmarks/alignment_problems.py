"""Problems for the aligner: scenes of the generator in DUST3R_SFM_SCENES, and collections of any number of images."""

import importlib.util
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.common import ROOT
from dust3r_sfm.types import Edge, ImageSet, PairPrediction, Scene, View

GENERATOR = Path(os.environ.get("DUST3R_SFM_SCENES", ROOT.parent / "shared" / "tools" / "alignment_scenes.py"))

SMALL, SMALLER = {"H": 48, "W": 64}, {"H": 36, "W": 48}
ORDINARY: dict[str, dict[str, Any]] = {
    "8": {"N": 8, **SMALL},
    "8 (again)": {"N": 8, **SMALL},
    "16 window 3, 10 % bad": {"N": 16, "graph": "window-3", "bad": 0.1, **SMALLER},
    "32 window 4": {"N": 32, "graph": "window-4", **SMALLER},
    "16, 15 % bad": {"N": 16, "bad": 0.15, **SMALLER},
    "8, 15 % bad and sure": {"N": 8, "bad": 0.15, "bad_conf": "high", **SMALL},
    "8, one focal": {"N": 8, "shared_focal": True, **SMALL},
    "16, one focal": {"N": 16, "shared_focal": True, **SMALLER},
    "32 window 4, one focal": {"N": 32, "graph": "window-4", "shared_focal": True, **SMALLER},
    "16, 15 % bad, one focal": {"N": 16, "bad": 0.15, "shared_focal": True, **SMALLER},
}
"""Ordinary graphs: table B."""
OVERCONFIDENT: dict[str, dict[str, Any]] = {
    "16, 30 % bad": {"N": 16, "bad": 0.3, "bad_conf": "high", **SMALLER},
    "16, 45 % bad": {"N": 16, "bad": 0.45, "bad_conf": "high", **SMALLER},
    "16 window 3, 25 % bad": {"N": 16, "graph": "window-3", "bad": 0.25, "bad_conf": "high", **SMALLER},
    "32 window 2, 10 % bad": {"N": 32, "graph": "window-2", "bad": 0.1, "bad_conf": "high", **SMALLER},
}
"""Wrong pairs that are as sure as any: table C."""
SIZES: dict[str, dict[str, Any]] = {
    "8 of 128x96, complete": {"N": 8, "H": 96, "W": 128},
    "8 of 224x168, complete": {"N": 8, "H": 168, "W": 224},
    "4 of 512x384, complete": {"N": 4, "H": 384, "W": 512},
    "16 of 128x96, complete": {"N": 16, "H": 96, "W": 128},
    "32 of 128x96, window 4": {"N": 32, "H": 96, "W": 128, "graph": "window-4"},
}
"""Time and memory: table A."""


@cache
def generator() -> ModuleType:
    """Load the scene generator."""
    spec = importlib.util.spec_from_file_location("alignment_scenes", GENERATOR)
    assert spec is not None and spec.loader is not None, GENERATOR
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def inputs(problem: dict[str, Any], one_camera: bool = False) -> tuple[ImageSet, dict[Edge, PairPrediction]]:
    """Bring a generated problem into the package's types.

    The generator puts pixel centres at whole numbers and the principal point at (w/2, h/2): half a pixel is added.
    """
    width, height = int(problem["W"]), int(problem["H"])
    images = ImageSet(
        root=Path(), views=tuple(view(i, width, height, 0 if one_camera else i, 0.5) for i in range(problem["N"]))
    )
    maps = [problem[name].numpy() for name in ("X1", "C1", "X2", "C2")]
    predictions = {
        (int(i), int(j)): PairPrediction(points1=x1, confidence1=c1, points2=x2, confidence2=c2)
        for (i, j), x1, c1, x2, c2 in zip(problem["edges"], *maps, strict=True)
    }
    return images, predictions


def figures(problem: dict[str, Any], scene: Scene) -> dict[str, float]:
    """Errors of an aligned scene, as the generator defines them; images that are not registered count as they are."""
    cam_from_world = scene.cam_from_world
    world_from_cam = np.tile(np.eye(4), (len(scene.names), 1, 1))
    world_from_cam[:, :3, :3] = np.swapaxes(cam_from_world[:, :, :3], 1, 2)
    world_from_cam[:, :3, 3] = -np.einsum("nij,nj->ni", world_from_cam[:, :3, :3], cam_from_world[:, :, 3])
    points = [world_points(scene, index) for index in range(len(scene.names))]
    found = generator().evaluate(problem, world_from_cam, scene.intrinsics[:, 0, 0], points)
    return {name: float(value) for name, value in found.items()} | {"registered": int(scene.registered.sum())}


def world_points(scene: Scene, index: int) -> np.ndarray:
    """Return the points of an image's depth map in the world (h w, 3)."""
    depth, matrix, pose = scene.depths[index], scene.intrinsics[index], scene.cam_from_world[index]
    rows, columns = np.indices(depth.shape)
    xy = np.stack([columns + 0.5 - matrix[0, 2], rows + 0.5 - matrix[1, 2]], -1) / matrix[0, 0]
    points = np.concatenate([xy, np.ones((*depth.shape, 1))], -1) * depth[..., None]
    return np.asarray((points.reshape(-1, 3) - pose[:, 3]) @ pose[:, :3])


def reference_loss(scene: Scene, predictions: Mapping[Edge, PairPrediction], base_scale: float = 0.5) -> float:
    """The objective of the reference package (log-confidence times distance) of a scene, at its scale and per pixel."""
    scales = np.cbrt(np.linalg.det(scene.world_from_edge[:, :3, :3]))
    unit = base_scale / float(np.exp(np.log(scales).mean()))
    points = [world_points(scene, index) for index in range(len(scene.names))]
    loss = 0.0
    for (i, j), world_from_edge in zip(scene.edges.tolist(), scene.world_from_edge, strict=True):
        prediction = predictions[i, j]
        for image, own, confidence in (
            (i, prediction.points1, prediction.confidence1),
            (j, prediction.points2, prediction.confidence2),
        ):
            placed = own.reshape(-1, 3) @ world_from_edge[:3, :3].T + world_from_edge[:3, 3]
            loss += float((np.log(confidence).ravel() * np.linalg.norm(placed - points[image], axis=1)).mean())
    return unit * loss / len(scene.edges)


def view(index: int, width: int, height: int, camera: int, shift: float = 0.0) -> View:
    """Make a view whose principal point lies `shift` pixels from the middle, in both axes."""
    return View(
        name=f"{index:05d}.png",
        path=Path(f"{index:05d}.png"),
        size=(width, height),
        orientation=1,
        network_size=(width, height),
        network_from_image=np.array([[1.0, 0, shift], [0, 1, shift], [0, 0, 1]]),
        focal_prior=None,
        camera_group=camera,
    )
