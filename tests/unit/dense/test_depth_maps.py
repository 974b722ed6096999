"""Depth and normal maps: exact on planes, blind at edges, in COLMAP's file format."""

from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.dense.depth_maps import DepthMap, clean_depth, depth_map, read_depth, write_depth_map
from dust3r_sfm.geometry.pinhole import intrinsics, rays
from dust3r_sfm.system._pycolmap import pycolmap

SIZE = 60, 44
MATRIX = intrinsics(70.0, SIZE)


def plane(normal: np.ndarray, distance: float) -> np.ndarray:
    """Depth of the plane n · p = -distance, which faces the camera for n_z < 0."""
    return (-distance / (rays(SIZE[1], SIZE[0], MATRIX) @ normal)).astype(np.float32)


@pytest.mark.parametrize("direction", [(0.0, 0.0, -1.0), (0.5, 0.2, -0.8), (-0.1, -0.7, -0.6)])
def test_normals_of_a_plane_are_exact(direction: tuple[float, float, float]) -> None:
    normal = np.array(direction) / np.linalg.norm(direction)
    maps = depth_map(plane(normal, 3.0), MATRIX)
    known = maps.depth > 0
    assert known.mean() > 0.95
    assert np.abs(maps.normal[known] - normal).max() < 2e-3
    assert np.all(maps.normal[~known] == 0)


def test_a_normal_does_not_mix_the_sides_of_an_edge() -> None:
    left, right = plane(np.array([0.0, 0.0, -1.0]), 2.0), plane(np.array([0.6, 0.0, -0.8]), 4.0)
    depth = np.where(np.arange(SIZE[0]) < 30, left, right).astype(np.float32)
    maps = depth_map(depth, MATRIX)
    known = maps.depth > 0
    expected = np.where((np.arange(SIZE[0]) < 30)[None, :, None], [0.0, 0.0, -1.0], [0.6, 0.0, -0.8])
    cosine = np.sum(maps.normal * expected, axis=-1)[known]
    assert np.degrees(np.arccos(cosine.clip(-1, 1))).max() < 5


def test_a_grazing_surface_is_left_out() -> None:
    tilt = np.radians(85)
    maps = depth_map(plane(np.array([np.sin(tilt), 0.0, -np.cos(tilt)]), 0.3), MATRIX)
    ray = rays(SIZE[1], SIZE[0], MATRIX)
    cosine = -np.sum(maps.normal * ray, axis=-1) / np.linalg.norm(ray, axis=-1)
    assert cosine[maps.depth > 0].min(initial=1.0) > np.cos(np.radians(82.5))


def test_edges_and_low_confidence_are_unknown_afterwards() -> None:
    depth = np.where(np.arange(SIZE[0]) < 30, 2.0, 3.0) * np.ones((SIZE[1], 1))
    confidence = np.full(depth.shape, 5.0, np.float32)
    confidence[:4] = 1.0
    confidence[4:8] = 2.0
    cleaned = clean_depth(depth.astype(np.float32), confidence)
    assert np.all(cleaned[:4] == 0)
    assert np.all(cleaned[:, 29:31] == 0)
    assert np.all(cleaned[12:, :28] == 2.0)
    assert np.all(cleaned[12:, 32:] == 3.0)


def test_nothing_known_gives_nothing() -> None:
    empty = np.zeros((5, 7), np.float32)
    assert np.all(clean_depth(empty, np.ones_like(empty)) == 0)
    assert np.all(depth_map(empty, MATRIX).depth == 0)
    tiny = depth_map(np.ones((1, 2), np.float32), MATRIX)
    assert np.all(tiny.depth == 0)


def test_files_are_read_by_colmap(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    maps = DepthMap(
        depth=rng.uniform(1, 2, (5, 7)).astype(np.float32), normal=rng.normal(size=(5, 7, 3)).astype(np.float32)
    )
    for kind in ("depth_maps", "normal_maps"):
        (tmp_path / kind / "a").mkdir(parents=True)
    write_depth_map(tmp_path, "a/b.jpg", maps)
    read = pycolmap.DepthMap()
    read.read(str(tmp_path / "depth_maps" / "a" / "b.jpg.geometric.bin"))
    assert np.array_equal(read.to_array(), maps.depth)
    assert np.array_equal(read_depth(tmp_path, "a/b.jpg"), maps.depth)
    # Three planes, one after the other: what src/colmap/mvs/mat.h indexes.
    data = (tmp_path / "normal_maps" / "a" / "b.jpg.geometric.bin").read_bytes()
    assert data.startswith(b"7&5&3&")
    assert np.array_equal(np.frombuffer(data[6:], "<f4").reshape(3, 5, 7), maps.normal.transpose(2, 0, 1))
