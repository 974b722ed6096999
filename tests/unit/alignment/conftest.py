"""Exact pairwise-pointmap problems: cameras in a room with spheres, and what a predictor would say about them."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.geometry.pinhole import intrinsics, rays
from dust3r_sfm.geometry.transforms import apply, compose, invert, rotation_exp
from dust3r_sfm.types import Edge, ImageSet, PairPrediction, View

SPHERES = np.array([[0.0, 0.2, 0.0, 0.9], [1.1, -0.3, 0.4, 0.5], [-0.9, 0.5, 0.7, 0.6], [0.2, -0.8, -0.9, 0.4]])
ROOM = 6.0


@dataclass
class Problem:
    """A problem and its truth."""

    images: ImageSet
    predictions: dict[Edge, PairPrediction]
    cam_from_world: np.ndarray
    focals: np.ndarray
    depths: np.ndarray
    bad: set[Edge]

    def errors(self, cam_from_world: np.ndarray, which: np.ndarray | None = None) -> tuple[float, float]:
        """Largest rotation error (degrees) and centre error (share of the cameras' spread) after a similarity fit."""
        from dust3r_sfm.geometry.procrustes import similarity
        from dust3r_sfm.geometry.transforms import centres, rotation_angle

        index = np.arange(len(cam_from_world)) if which is None else np.flatnonzero(which)
        truth, found = self.cam_from_world[index], cam_from_world[index]
        relative = found[:, :, :3].transpose(0, 2, 1) @ truth[:, :, :3]
        angle = rotation_angle(relative @ relative[0].T).max()
        spread = np.linalg.norm(centres(truth) - centres(truth).mean(0), axis=1).max()
        fitted = apply(similarity(centres(found), centres(truth)), centres(found))
        return float(angle), float(np.linalg.norm(fitted - centres(truth), axis=1).max() / spread)


def _depth(cam_from_world: np.ndarray, shape: tuple[int, int], focal: float) -> np.ndarray:
    """Depth along the rays of a camera, by intersection with the spheres and the spherical room."""
    directions = rays(*shape, intrinsics(focal, shape[::-1])).reshape(-1, 3) @ cam_from_world[:, :3]
    centre = invert(cam_from_world)[:, 3]
    nearest = np.full(len(directions), np.inf)
    for x, y, z, radius in [*SPHERES, (0, 0, 0, ROOM)]:
        offset = centre - [x, y, z]
        a, b, c = (directions**2).sum(1), directions @ offset, offset @ offset - radius**2
        root = b**2 - a * c
        distance = (-b + (1 if radius == ROOM else -1) * np.sqrt(np.maximum(root, 0))) / a
        nearest = np.where((root > 0) & (distance > 0) & (distance < nearest), distance, nearest)
    return nearest.reshape(shape)


def _look(centre: np.ndarray, target: np.ndarray) -> np.ndarray:
    forward = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return np.c_[rotation, -rotation @ centre]


@pytest.fixture
def make_problem() -> Callable[..., Problem]:
    """Build a problem.

    noise: relative depth noise, smooth over the image; bad: share of pairs with a wrong relative pose that both
    directions agree on; edges: directed edges, all by default; centres: camera positions.
    """

    def make(
        num_images: int = 6,
        shape: tuple[int, int] = (18, 24),
        noise: float = 0.0,
        bad: float = 0.0,
        edges: list[Edge] | None = None,
        cam_from_world: np.ndarray | None = None,
        one_camera: bool = True,
        seed: int = 0,
    ) -> Problem:
        rng = np.random.default_rng(seed)
        if cam_from_world is None:
            angles = np.linspace(0, 2.2, num_images) + rng.normal(size=num_images) * 0.05
            positions = np.stack([3.5 * np.sin(angles), rng.normal(size=num_images) * 0.4, -3.5 * np.cos(angles)], 1)
            cam_from_world = np.stack([_look(p, rng.normal(size=3) * 0.3) for p in positions])
        num_images = len(cam_from_world)
        focals = np.full(num_images, 22.0) if one_camera else rng.uniform(19, 27, num_images)
        depths = np.stack([_depth(pose, shape, f) for pose, f in zip(cam_from_world, focals, strict=True)])
        points = [
            (rays(*shape, intrinsics(f, shape[::-1])) * d[..., None]).reshape(-1, 3)
            for d, f in zip(depths, focals, strict=True)
        ]

        directed = edges if edges is not None else [e for p in combinations(range(num_images), 2) for e in (p, p[::-1])]
        pairs = sorted({(min(e), max(e)) for e in directed})
        wrong = {pairs[k] for k in rng.permutation(len(pairs))[: round(bad * len(pairs))]}
        relatives = {}
        for i, j in pairs:
            i_from_j = compose(cam_from_world[i], invert(cam_from_world[j]))
            if (i, j) in wrong:
                turn = np.c_[rotation_exp(rng.normal(size=3) * 0.5), rng.normal(size=3)]
                i_from_j = compose(turn, i_from_j)
            relatives[i, j], relatives[j, i] = i_from_j, invert(i_from_j)
        predictions = {}
        for i, j in directed:
            scale = np.exp(rng.normal() * 0.5)
            own = points[i] * np.exp(noise * _smooth(rng, shape)).reshape(-1, 1)
            other = apply(relatives[i, j], points[j] * np.exp(noise * _smooth(rng, shape)).reshape(-1, 1))
            predictions[i, j] = PairPrediction(
                points1=(own * scale).astype(np.float32).reshape(*shape, 3),
                confidence1=rng.uniform(2, 8, shape).astype(np.float32),
                points2=(other * scale).astype(np.float32).reshape(*shape, 3),
                confidence2=rng.uniform(2, 8, shape).astype(np.float32),
            )
        views = tuple(
            View(
                name=f"{i:03d}.png",
                path=Path(f"{i:03d}.png"),
                size=(shape[1] * 2, shape[0] * 2),
                orientation=1,
                network_size=shape[::-1],
                network_from_image=np.diag([0.5, 0.5, 1.0]),
                focal_prior=None,
                camera_group=0 if one_camera else i,
            )
            for i in range(num_images)
        )
        images = ImageSet(root=Path(), views=views)
        return Problem(images, predictions, cam_from_world, focals, depths, wrong | {p[::-1] for p in wrong})

    return make


def _smooth(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A low-frequency field of unit spread plus a little grain."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] / max(shape)
    field = sum(rng.normal() * np.sin(6 * (a * x + b * y) + rng.uniform(0, 6)) for a, b in rng.normal(size=(4, 2)))
    return field / np.sqrt(2) + 0.2 * rng.normal(size=shape)
