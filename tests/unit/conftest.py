"""An exact scene that several rooms are tested with, the inside of a box; and a checkpoint of a tiny random network."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.features.features import Features
from dust3r_sfm.geometry import pinhole, transforms
from dust3r_sfm.images.resize import Grid, network_grid
from dust3r_sfm.matching.mutual import mutual_matches
from dust3r_sfm.options import MatchOptions, TrackOptions
from dust3r_sfm.tracks.build import build_tracks
from dust3r_sfm.types import Matches, PairPrediction, Scene, Tracks, View

HALF_SIZE = np.array([3.0, 2.0, 4.0])
PHOTOGRAPHS = (((640, 480), 1), ((640, 480), 6), ((640, 480), 3), ((640, 480), 8), ((800, 600), 1), ((640, 480), 1))


@dataclass(frozen=True, kw_only=True)
class Room:
    """The scene, its views, exact raw cameras, and the chain from pointmaps to tracks."""

    views: tuple[View, ...]
    scene: Scene
    raw_cam_from_world: np.ndarray
    raw_focals: np.ndarray

    def prediction(self, i: int, j: int) -> PairPrediction:
        """Exact pointmaps of a pair in camera i's frame."""
        scene = self.scene
        own, other = (pinhole.unproject(scene.depths[k].astype(float), scene.intrinsics[k]) for k in (i, j))
        i_from_j = transforms.compose(scene.cam_from_world[i], transforms.invert(scene.cam_from_world[j]))
        moved = transforms.apply(i_from_j, other.reshape(-1, 3)).reshape(other.shape)
        return PairPrediction(
            points1=own.astype(np.float32),
            confidence1=np.full(own.shape[:2], 5.0, np.float32),
            points2=moved.astype(np.float32),
            confidence2=np.full(moved.shape[:2], 5.0, np.float32),
        )

    def matches(self, stride: int = 8) -> list[Matches]:
        """Mutual matches of all pairs."""
        options, count = MatchOptions(match_stride=stride), len(self.views)
        return [
            mutual_matches(self.prediction(i, j), self.views[i], self.views[j], i, j, options)
            for i in range(count)
            for j in range(i + 1, count)
        ]

    def tracks(self, matches: Sequence[Matches] | None = None, options: TrackOptions | None = None) -> Tracks:
        """Tracks of the matches; image i is painted with grey level 10 i."""
        return build_tracks(
            self.scene, self.matches() if matches is None else matches, options or TrackOptions(), self.colour
        )

    def colour(self, index: int) -> np.ndarray:
        """Raw pixels of an image."""
        width, height = self.views[index].size
        return np.full((height, width, 3), 10 * index, np.uint8)


def turn(axis: str, degrees: float) -> np.ndarray:
    """Rotation about a camera axis."""
    return transforms.rotation_exp(np.radians(degrees) * np.eye(3)["xyz".index(axis)])


def room_depth(cam_from_world: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Exact z of the walls of the box, seen from inside."""
    rays = pinhole.rays(size[1], size[0], intrinsics) @ cam_from_world[:, :3]
    centre = transforms.centres(cam_from_world)
    distance = (np.sign(rays) * HALF_SIZE - centre) / np.where(rays == 0, 1e-12, rays)
    return distance.min(axis=-1).astype(np.float32)


@pytest.fixture(scope="session")
def make_room() -> Callable[..., Room]:
    """Build a room from (raw size, EXIF orientation) of each photograph."""

    def make(
        photographs: Sequence[tuple[tuple[int, int], int]] = PHOTOGRAPHS,
        step: float = 0.25,
        names: Sequence[str] | None = None,
        grid: Grid = Grid(size=192),  # noqa: B008  (frozen)
    ) -> Room:
        names = names or [f"image {index}.jpg" for index in range(len(photographs))]
        views, intrinsics, poses, raw_poses, focals, depths = [], [], [], [], [], []
        for index, (size, orientation) in enumerate(photographs):
            network_size, network_from_image = network_grid(size, orientation, grid)
            view = View(
                name=names[index],
                path=Path("photos") / names[index],
                size=size,
                orientation=orientation,
                network_size=network_size,
                network_from_image=network_from_image,
                focal_prior=None,
                camera_group=0 if size == photographs[0][0] else 1,
            )
            # The camera is turned by hand: the raw frame is the upright frame turned about the optical axis.
            upright_from_raw = turn("z", {1: 0, 6: 90, 3: 180, 8: -90}[orientation])
            focal = 0.9 * max(size)
            raw_matrix = pinhole.intrinsics(focal, size)
            matrix = network_from_image @ raw_matrix @ upright_from_raw.T
            centre = np.array([step * (index - 2), 0.1 * step * index, -2.5 + 0.2 * step * index])
            rotation = turn("y", -3.0 * index) @ turn("x", 2.0 * index)
            pose = np.column_stack([rotation, -rotation @ centre])
            views.append(view)
            intrinsics.append(matrix)
            poses.append(pose)
            raw_poses.append(upright_from_raw.T @ pose)
            focals.append(focal)
            depths.append(room_depth(pose, matrix, network_size))
        count = len(views)
        scene = Scene(
            image_root=Path("photos"),
            views=tuple(views),
            intrinsics=np.array(intrinsics),
            cam_from_world=np.array(poses),
            registered=np.ones(count, bool),
            depths=tuple(depths),
            confidences=tuple(np.full(depth.shape, 5.0, np.float32) for depth in depths),
            edges=np.zeros((0, 2), np.int64),
            world_from_edge=np.zeros((0, 4, 4)),
            edge_weights=np.zeros(0),
            edge_residuals=np.zeros(0),
        )
        return Room(
            views=tuple(views), scene=scene, raw_cam_from_world=np.array(raw_poses), raw_focals=np.array(focals)
        )

    return make


@pytest.fixture(scope="session")
def room(make_room: Callable[..., Room]) -> Room:
    """Six photographs of mixed sizes and EXIF orientations."""
    return make_room()


@pytest.fixture(scope="session")
def room_matches(room: Room) -> list[Matches]:
    """Matches of all pairs of the room."""
    return room.matches()


@pytest.fixture(scope="session")
def room_tracks(room: Room, room_matches: list[Matches]) -> Tracks:
    """Tracks of the room."""
    return room.tracks(room_matches)


@pytest.fixture
def photos(room: Room, tmp_path: Path) -> Path:
    """Files of the room's photographs in their raw grids, with EXIF orientation tags."""
    root = tmp_path / "photos"
    save_photographs(room, root)
    return root


def save_photographs(room: Room, root: Path) -> None:
    """Write a JPEG of smooth colours for each view."""
    for index, view in enumerate(room.views):
        width, height = view.size
        column, row = np.meshgrid(np.arange(width), np.arange(height))
        pixels = np.stack([column * 255 // width, row * 255 // height, np.full_like(row, 20 * index)], axis=-1)
        path = root / view.name
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = view.orientation
        Image.fromarray(pixels.astype(np.uint8)).save(path, exif=exif)


@pytest.fixture(scope="session")
def make_features() -> Callable[..., list[Features]]:
    """Keypoints of points on the walls of a room, with a descriptor per point and noise in the pixels."""

    def make(room: Room, num_points: int = 900, noise: float = 0.0, num_looks: int = 10**6) -> list[Features]:
        random = np.random.default_rng(0)
        side = random.integers(3, size=num_points)
        xyz = random.uniform(-1, 1, (num_points, 3)) * HALF_SIZE
        xyz[np.arange(num_points), side] = HALF_SIZE[side] * random.choice([-1.0, 1.0], num_points)
        looks = random.normal(size=(min(num_looks, num_points), 128)).astype(np.float32)
        looks /= np.linalg.norm(looks, axis=1, keepdims=True)
        descriptors = looks[np.arange(num_points) % len(looks)]
        found = []
        for index, view in enumerate(room.views):
            inside = transforms.apply(room.raw_cam_from_world[index], xyz)
            xy = pinhole.project(inside, pinhole.intrinsics(room.raw_focals[index], view.size))
            seen = np.all((xy > 0) & (xy < view.size), axis=1)
            moved = xy[seen] + random.normal(size=(seen.sum(), 2)) * noise
            found.append(Features(xy=moved, descriptors=descriptors[seen], scores=np.ones(len(moved), np.float32)))
        return found

    return make


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .pth of DUSt3R's form with a linear head; every predictor of dust3r-* loads it.

    Its points lie in front of the camera and spread as pixels do, though only within each patch.
    """
    import torch

    from dust3r_sfm.network import NetworkConfig, random_network

    torch.set_num_threads(1)
    config = NetworkConfig(
        encoder_width=48,
        encoder_depth=2,
        encoder_heads=3,
        decoder_width=32,
        decoder_depth=2,
        decoder_heads=2,
        head="linear",
    )
    call = (
        "AsymmetricCroCo3DStereo(pos_embed='RoPE100', img_size=(64, 64), enc_embed_dim=48, enc_depth=2, "
        "enc_num_heads=3, dec_embed_dim=32, dec_depth=2, dec_num_heads=2, depth_mode=('exp', -inf, inf), "
        "conf_mode=('exp', 1, inf))"
    )
    network = random_network(config, 0)
    offsets = torch.linspace(-0.05, 0.05, 16)
    with torch.no_grad():
        for head in (network.downstream_head1, network.downstream_head2):
            head.proj.weight.mul_(0.02)
            bias = head.proj.bias.view(4, 16, 16)
            bias[0], bias[1], bias[2], bias[3] = offsets, offsets[:, None], 1.5, 0.5
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save({"args": argparse.Namespace(model=call), "model": network.state_dict()}, path)
    return path
