"""Images overlap when they see the same surface."""

from dataclasses import replace

import numpy as np

from dust3r_sfm.features.overlap import overlapping_pairs
from dust3r_sfm.tracks.cameras import posed_cameras
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.types import Edge, Scene


def overlapping(scene: Scene, max_neighbours: int, aligned: tuple[Edge, ...] = ()) -> list[Edge]:
    return overlapping_pairs(posed_cameras(scene), AlignedDepths.of(scene), aligned, max_neighbours)


def test_images_back_to_back_do_not_overlap(room) -> None:
    pairs = overlapping(room.scene, 20)
    assert (0, 1) in pairs and all(i < j for i, j in pairs)
    turned = room.scene.cam_from_world.copy()
    turned[0] = np.diag([-1.0, 1.0, -1.0]) @ turned[0]
    assert all(0 not in pair for pair in overlapping(replace(room.scene, cam_from_world=turned), 20))
    assert max(np.bincount(np.ravel(overlapping(room.scene, 1)))) <= 6
    assert (0, 4) in overlapping(replace(room.scene, cam_from_world=turned), 20, ((0, 4),))


def test_an_image_that_is_not_registered_overlaps_nothing(room) -> None:
    absent = replace(room.scene, registered=np.arange(6) != 2)
    assert all(2 not in pair for pair in overlapping(absent, 20, ((1, 2),)))
