"""Images go into a model and out of it, and the others stay as they are."""

import numpy as np

from dust3r_sfm.colmap.images import with_image, without_images
from dust3r_sfm.colmap.model import NO_TRACKS, reconstruction_from_scene


def test_out_and_in_again(room) -> None:
    model = reconstruction_from_scene(room.scene, NO_TRACKS)
    camera = model.cameras[model.images[5].camera_id]  # of the one photograph of its size
    fewer = without_images(model, {4})
    assert sorted(fewer.images) == [1, 2, 3, 4, 6] and camera.camera_id not in fewer.cameras
    again = with_image(fewer, 4, room.scene.names[4], room.raw_cam_from_world[4], camera)
    for image_id, image in model.images.items():
        assert again.images[image_id].name == image.name
        assert np.allclose(
            again.images[image_id].cam_from_world().matrix(), image.cam_from_world().matrix(), atol=1e-12
        )
        assert np.array_equal(again.images[image_id].camera.params, image.camera.params)


def test_a_camera_that_is_there_is_shared(room) -> None:
    model = reconstruction_from_scene(room.scene, NO_TRACKS)
    shared = model.cameras[model.images[1].camera_id]
    again = with_image(without_images(model, {1}), 1, room.scene.names[1], room.raw_cam_from_world[1], shared)
    assert again.images[2].camera_id == again.images[1].camera_id and len(again.cameras) == len(model.cameras)
