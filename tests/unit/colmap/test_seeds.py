"""Seeds of splats are points that trainers read and adjustments do not see."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dust3r_sfm.colmap.model import reconstruction_from_scene, write_model
from dust3r_sfm.colmap.seeds import with_seeds
from dust3r_sfm.dense.check import check_images
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import Tracks


@pytest.fixture
def model(room: Any, room_tracks: Tracks) -> Any:
    return reconstruction_from_scene(room.scene, room_tracks.take(room_tracks.track_of % 2 == 0))


@pytest.fixture
def seeds(room_tracks: Tracks) -> Tracks:
    return room_tracks.take(room_tracks.track_of % 2 == 1)


def test_seeds_are_told_by_their_empty_track(model: Any, seeds: Tracks, tmp_path: Path) -> None:
    before = model.num_points3D()
    write_model(with_seeds(model, seeds), tmp_path / "sparse")
    again = pycolmap.Reconstruction(str(tmp_path / "sparse"))
    assert model.num_points3D() == before
    assert again.num_points3D() == before + len(seeds.xyz)
    alone = [point for _, point in sorted(again.points3D.items()) if point.track.length() == 0]
    assert np.array_equal([point.xyz for point in alone], seeds.xyz)
    assert np.array_equal([point.color for point in alone], seeds.rgb)
    assert {point.error for point in alone} == {-1.0}
    assert again.compute_num_observations() == model.compute_num_observations()


def test_an_adjustment_does_not_see_them(model: Any, seeds: Tracks) -> None:
    far = Tracks(**{**vars(seeds), "xyz": seeds.xyz + 100.0})
    seeded = with_seeds(model, far)
    options = pycolmap.BundleAdjustmentOptions(print_summary=False)
    pycolmap.bundle_adjustment(model, options)
    pycolmap.bundle_adjustment(seeded, options)
    for image_id, image in model.images.items():
        found = seeded.images[image_id].cam_from_world().matrix()
        assert np.allclose(found, image.cam_from_world().matrix(), atol=1e-9)
    assert [check.sources for check in check_images(seeded)] == [check.sources for check in check_images(model)]


def test_the_workspace_holds_them(model: Any, seeds: Tracks, photos: Path, tmp_path: Path) -> None:
    dense = write_workspace(tmp_path, with_seeds(model, seeds), photos)
    found = pycolmap.Reconstruction(str(dense / "sparse" / "0"))
    assert sum(point.track.length() == 0 for point in found.points3D.values()) == len(seeds.xyz)
    kept = [point for _, point in sorted(found.points3D.items()) if point.track.length() == 0]
    assert np.array_equal([point.xyz for point in kept], seeds.xyz)
