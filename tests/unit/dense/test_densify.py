"""Fusion and meshing of a run's depth maps, and what is said when they cannot be done."""

from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.colmap.model import reconstruction_from_scene
from dust3r_sfm.dense import pointmaps
from dust3r_sfm.dense.densify import densify
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.errors import InputError, ReconstructionError
from dust3r_sfm.formats.ply import read_ply
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import Scene, Tracks


@pytest.fixture(scope="module")
def scene(sample_folder: Path) -> Scene:
    return read_scene(sample_folder / "truth" / "scene.h5", sample_folder / "images")


def tracks_of(scene: Scene) -> Tracks:
    """A point for some pixels of every image, seen by all images that it projects into without being hidden."""
    xyz, track_of, image_of, xy = [], [], [], []
    for own, (depth, matrix, pose) in enumerate(zip(scene.depths, scene.intrinsics, scene.cam_from_world, strict=True)):
        rows, columns = np.nonzero(depth)
        chosen = slice(None, None, len(rows) // 150)
        pixel = np.column_stack([columns, rows])[chosen] + 0.5
        rays = np.column_stack([(pixel - matrix[:2, 2]) / matrix[(0, 1), (0, 1)], np.ones(len(pixel))])
        world = (rays * depth[rows, columns][chosen, None] - pose[:, 3]) @ pose[:, :3]
        for other, (depth2, matrix2, pose2) in enumerate(
            zip(scene.depths, scene.intrinsics, scene.cam_from_world, strict=True)
        ):
            point = world @ pose2[:, :3].T + pose2[:, 3]
            position = (point @ matrix2.T)[:, :2] / point[:, 2:]
            column, row = np.floor(position).astype(int).T
            inside = (point[:, 2] > 0) & (column >= 0) & (row >= 0)
            inside &= (column < depth2.shape[1]) & (row < depth2.shape[0])
            found = depth2[np.where(inside, row, 0), np.where(inside, column, 0)]
            seen = np.flatnonzero(inside & (np.abs(found / point[:, 2] - 1) < 0.01))
            track_of.append(seen + sum(map(len, xyz)))
            image_of.append(np.full(len(seen), other))
            image_from_network = np.linalg.inv(scene.network_from_image[other])
            xy.append(position[seen] @ image_from_network[:2, :2].T + image_from_network[:2, 2])
        assert own == len(xyz)
        xyz.append(world)
    points = np.concatenate(xyz)
    order = np.argsort(np.concatenate(track_of), kind="stable")
    return Tracks(
        xyz=points,
        rgb=np.full(points.shape, 128, np.uint8),
        track_of=np.concatenate(track_of)[order],
        image_of=np.concatenate(image_of)[order],
        xy=np.concatenate(xy)[order],
    )


@pytest.fixture(scope="module")
def run(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with the two workspaces of a rendered scene."""
    out = tmp_path_factory.mktemp("run")
    model = reconstruction_from_scene(scene, tracks_of(scene))
    write_workspace(out, model, scene.image_root)
    pointmaps.write_pointmaps(out, model, scene)
    return out


def test_cloud_and_mesh(run: Path, scene: Scene) -> None:
    dense = densify(run)
    cloud = read_ply(dense.cloud)
    assert len(cloud.xyz) == dense.num_points > 1000
    assert np.linalg.norm(cloud.normal, axis=1) == pytest.approx(1, abs=1e-3)
    vertices = read_ply(dense.mesh)
    assert len(vertices.xyz) > 500
    assert sorted(path.name for path in run.iterdir()) == [
        "dense", "dense_pointmaps", "fused.ply", "fused.ply.vis", "mesh.ply"
    ]  # fmt: skip
    # The cloud lies on the true surfaces: on the depth of some image.
    best = np.full(len(cloud.xyz), np.inf)
    for depth, matrix, pose in zip(scene.depths, scene.intrinsics, scene.cam_from_world, strict=True):
        point = cloud.xyz @ pose[:, :3].T + pose[:, 3]
        column, row = np.floor((point @ matrix.T)[:, :2] / point[:, 2:]).astype(int).T
        inside = (point[:, 2] > 0) & (column >= 0) & (row >= 0)
        inside &= (column < depth.shape[1]) & (row < depth.shape[0])
        found = depth[np.where(inside, row, 0), np.where(inside, column, 0)]
        best = np.where(inside, np.minimum(best, np.abs(found / point[:, 2] - 1)), best)
    assert np.percentile(best, 95) < 0.01


def test_patch_match_needs_cuda(run: Path) -> None:
    if pycolmap.has_cuda:
        pytest.skip("this machine has CUDA")
    with pytest.raises(InputError, match="needs CUDA"):
        densify(run, patch_match=True)


def test_a_folder_without_depth_maps_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dense_pointmaps is no dense workspace"):
        densify(tmp_path)


def test_zero_tracks_give_a_sentence_and_no_files(scene: Scene, tmp_path: Path) -> None:
    empty = Tracks(
        xyz=np.zeros((0, 3)),
        rgb=np.zeros((0, 3), np.uint8),
        track_of=np.zeros(0, np.int64),
        image_of=np.zeros(0, np.int64),
        xy=np.zeros((0, 2)),
    )
    model = reconstruction_from_scene(scene, empty)
    write_workspace(tmp_path, model, scene.image_root)
    pointmaps.write_pointmaps(tmp_path, model, scene)
    with pytest.raises(ReconstructionError, match=r"No point of .* is confirmed by 3 images"):
        densify(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense", "dense_pointmaps"]


def test_a_damaged_workspace_is_named(run: Path, tmp_path: Path) -> None:
    (tmp_path / "dense_pointmaps" / "sparse").mkdir(parents=True)
    (tmp_path / "dense_pointmaps" / "stereo").mkdir()
    (tmp_path / "dense_pointmaps" / "stereo" / "fusion.cfg").write_text("a.jpg\n")
    with pytest.raises(InputError, match=r"COLMAP cannot use .*dense_pointmaps"):
        densify(tmp_path)
