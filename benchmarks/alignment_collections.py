"""Collections of any number of images for the aligner: cameras on a ring look out at a wall with spheres before it.

The graph is that of an ordered collection: `WINDOW` neighbours on each side, and for each image some that retrieval
found within reach, of which a few are false. Predictions are made when they are asked for, the same each time.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from benchmarks.alignment_problems import view
from dust3r_sfm.geometry.pinhole import intrinsics, rays
from dust3r_sfm.geometry.transforms import rotation_exp
from dust3r_sfm.types import Edge, ImageSet, PairPrediction

WIDTH, HEIGHT, FOCAL = 64, 48, 50.0
STEP, WALL, SPHERES_PER_STEP = 0.5, 4.0, 1.0
"""Distance between neighbouring cameras, from them to the wall, and how many spheres stand before it per camera."""
WINDOW, RETRIEVED, REACH = 3, 2, 7
FALSE = 0.03
"""Share of the retrieved pairs whose relative pose is wrong, in both directions alike."""
DEPTH_NOISE, TURN_NOISE, MOVE_NOISE, FOCAL_NOISE = 0.02, 0.5, 0.01, 0.01


class Collection(Mapping[Edge, PairPrediction]):
    """Predictions of the directed edges of `num_images` images.

    Attributes:
        images: the image set.
        world_from_cam: true poses (n, 3, 4).
        seconds: CPU time spent in making predictions, which is not the aligner's.
    """

    def __init__(self, num_images: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.seconds, self._seed = 0.0, seed
        self.images = ImageSet(root=Path(), views=tuple(view(i, WIDTH, HEIGHT, 0) for i in range(num_images)))
        self._radius = max(num_images * STEP / (2 * np.pi), 1.0)
        angles = 2 * np.pi * (np.arange(num_images) + rng.normal(0, 0.1, num_images)) / num_images
        self.world_from_cam = _ring(angles, self._radius, rng)
        count = max(8, int(SPHERES_PER_STEP * num_images))
        around, sizes = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.3, 0.9, count)
        distance = self._radius + WALL - rng.uniform(0.2, 1.6, count)
        self._spheres = np.stack(
            [distance * np.cos(around), rng.uniform(-1.2, 1.2, count), distance * np.sin(around), sizes], 1
        )
        self._rays = rays(HEIGHT, WIDTH, intrinsics(FOCAL, (WIDTH, HEIGHT))).reshape(-1, 3)
        self._depths = np.stack([self._depth(pose) for pose in self.world_from_cam]).astype(np.float32)
        self._edges = _edges(num_images, rng)
        pairs = sorted({(min(e), max(e)) for e in self._edges})
        far = [p for p in pairs if min(p[1] - p[0], num_images - p[1] + p[0]) > WINDOW]
        chosen = rng.permutation(len(far))[: round(FALSE * len(far))]
        self.false = {far[k] for k in chosen}

    def __len__(self) -> int:
        return len(self._edges)

    def __iter__(self) -> Iterator[Edge]:
        return iter(self._edges)

    def __getitem__(self, edge: Edge) -> PairPrediction:
        started = time.process_time()
        i, j = edge
        rng = np.random.default_rng([self._seed, i, j])
        own = self._rays * self._noisy(self._depths[i], rng)
        own[:, :2] *= np.exp(FOCAL_NOISE * rng.normal())
        other = self._rays * self._noisy(self._depths[j], rng)
        turn, move = self._relative(i, j)
        middle = other.mean(0)
        noise = rotation_exp(np.radians(TURN_NOISE) * rng.normal(size=3))
        moved = (other - middle) @ noise.T + middle + MOVE_NOISE * np.linalg.norm(middle) * rng.normal(size=3)
        placed = moved @ turn.T + move
        # Sure about what both images see, unsure about the rest.
        z = np.maximum(placed[:, 2], 1e-6)
        inside = (np.abs(placed[:, 0]) < z * WIDTH / 2 / FOCAL) & (np.abs(placed[:, 1]) < z * HEIGHT / 2 / FOCAL)
        sure = np.where(inside, 1.0, -0.5).reshape(HEIGHT, WIDTH)
        scale = np.float32(np.exp(rng.normal(0, 0.1)) / np.median(self._depths[i]))
        prediction = PairPrediction(
            points1=(own * scale).astype(np.float32).reshape(HEIGHT, WIDTH, 3),
            confidence1=(1 + np.exp(1.5 + 0.35 * _smooth(rng))).astype(np.float32),
            points2=(placed * scale).astype(np.float32).reshape(HEIGHT, WIDTH, 3),
            confidence2=(1 + np.exp(sure + 0.35 * _smooth(rng))).astype(np.float32),
        )
        self.seconds += time.process_time() - started
        return prediction

    def _relative(self, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Camera i from camera j, wrong for the false pairs."""
        first, second = self.world_from_cam[i], self.world_from_cam[j]
        turn, move = first[:, :3].T @ second[:, :3], first[:, :3].T @ (second[:, 3] - first[:, 3])
        pair = (min(i, j), max(i, j))
        if pair in self.false:
            rng = np.random.default_rng([self._seed, *pair])
            wrong, aside = rotation_exp(rng.normal(size=3) * 0.5), rng.normal(size=3)
            # In the frame of the smaller index, so that both directions agree.
            if i < j:
                return wrong @ turn, move + aside
            return turn @ wrong.T, move - turn @ wrong.T @ aside
        return turn, move

    def _noisy(self, depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        grain = 0.004 * rng.normal(size=(HEIGHT, WIDTH))
        return (depth * np.exp(DEPTH_NOISE * _smooth(rng) + grain)).reshape(-1, 1)

    def _depth(self, world_from_cam: np.ndarray) -> np.ndarray:
        """Depth along the rays of a camera by intersection with the cylinder of the wall and the nearest spheres."""
        directions, centre = self._rays @ world_from_cam[:, :3].T, world_from_cam[:, 3]
        flat, start = directions[:, [0, 2]], centre[[0, 2]]
        a, b, c = (flat**2).sum(1), flat @ start, start @ start - (self._radius + WALL) ** 2
        nearest = (-b + np.sqrt(b**2 - a * c)) / a
        near = np.argsort(((self._spheres[:, :3] - centre) ** 2).sum(1))[:24]
        for x, y, z, radius in self._spheres[near]:
            offset = centre - [x, y, z]
            a, b, c = (directions**2).sum(1), directions @ offset, offset @ offset - radius**2
            root = b**2 - a * c
            distance = (-b - np.sqrt(np.maximum(root, 0))) / a
            nearest = np.where((root > 0) & (distance > 0.05) & (distance < nearest), distance, nearest)
        return np.asarray(nearest.reshape(HEIGHT, WIDTH))


def _ring(angles: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """World from camera of cameras that look outwards, with y down, and wobble."""
    poses = []
    for angle in angles:
        forward = np.array([np.cos(angle), 0.0, np.sin(angle)])
        right = np.cross([0.0, 1.0, 0.0], forward)
        rotation = np.stack([right, [0.0, 1.0, 0.0], forward], axis=1) @ rotation_exp(rng.normal(0, 0.12, 3))
        centre = (radius + rng.normal(0, 0.3)) * forward + [0.0, rng.normal(0, 0.3), 0.0]
        poses.append(np.c_[rotation, centre])
    return np.stack(poses)


def _edges(num_images: int, rng: np.random.Generator) -> list[Edge]:
    """Both directions of the pairs in the window and of those that retrieval adds."""
    pairs = set()
    for i in range(num_images):
        reach = [*range(1, WINDOW + 1), *(WINDOW + 1 + rng.permutation(REACH - WINDOW)[:RETRIEVED])]
        pairs |= {tuple(sorted((i, (i + int(k)) % num_images))) for k in reach}
    return sorted(e for i, j in pairs for e in ((i, j), (j, i)))


def _smooth(rng: np.random.Generator) -> np.ndarray:
    """A field of low frequency and unit spread."""
    return np.asarray(cv2.resize(rng.normal(size=(5, 6)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
