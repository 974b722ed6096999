"""Points of a scene's pixels, on a room whose walls are known exactly."""

from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.scene_points import confidence_mask, world_points

HALF_SIZE = np.array([3.0, 2.0, 4.0])


def test_points_lie_on_the_walls(room):
    for index, name in enumerate(room.scene.names):
        points = world_points(room.scene, name)
        assert points.shape == (*room.scene.depths[index].shape, 3) and points.dtype == np.float32
        assert np.abs(np.abs(points / HALF_SIZE).max(axis=-1) - 1).max() < 1e-5


def test_a_name_and_an_index_are_the_same_image(room):
    by_name = world_points(room.scene, room.scene.names[2])
    for index in (2, np.int64(2)):
        np.testing.assert_array_equal(world_points(room.scene, index), by_name)


def test_what_is_not_known_is_no_point(room):
    depths = [depth.copy() for depth in room.scene.depths]
    depths[1][3:7, 5:9] = 0
    points = world_points(replace(room.scene, depths=tuple(depths)), 1)
    unknown = np.isnan(points).all(axis=-1)
    assert unknown[3:7, 5:9].all() and unknown.sum() == 16
    assert np.isnan(points).sum() == 3 * 16


def test_a_mask_cuts_above_the_confidence_it_is_given(room):
    depths, confidences = ([array.copy() for array in arrays] for arrays in (room.scene.depths, room.scene.confidences))
    confidences[0][0, :4] = 1.0, 1.5, 3.0, 3.5
    depths[0][0, 4] = 0
    scene = replace(room.scene, depths=tuple(depths), confidences=tuple(confidences))

    for min_confidence, expected in [
        (0.0, [False, True, True, True, False]),
        (1.0, [False, True, True, True, False]),
        (3.0, [False, False, False, True, False]),
    ]:
        assert confidence_mask(scene, 0, min_confidence)[0, :5].tolist() == expected
    assert not confidence_mask(scene, 0, 5.0).any()


@pytest.mark.parametrize("image", ["nobody.jpg", 6, -1])
def test_an_image_that_is_not_there_is_named(room, image):
    for look in (world_points, lambda scene, image: confidence_mask(scene, image, 1.0)):
        with pytest.raises(InputError, match=r"has no image .* it has 6, the first of them image 0\.jpg"):
            look(room.scene, image)


def test_an_image_without_a_pose_has_no_points_in_the_world(room):
    registered = room.scene.registered.copy()
    registered[4] = False
    scene = replace(room.scene, registered=registered)
    with pytest.raises(InputError, match=r"image 4\.jpg was not placed in the scene"):
        world_points(scene, 4)
    assert confidence_mask(scene, 4, 1.0).all()
