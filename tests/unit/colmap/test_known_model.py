"""Cameras that the user gave stand in the model exactly, distortion included."""

from dataclasses import replace

from dust3r_sfm.colmap.model import reconstruction_from_scene
from dust3r_sfm.types import KnownCamera


def test_given_cameras_are_in_the_model_to_the_bit(room, room_tracks):
    given = KnownCamera(
        model="OPENCV", size=room.views[0].size, params=(577.1, 1733 / 3, 320.3, 239.7, -0.01, 1e-3, 1e-5, -1e-5)
    )
    known = (given, given, None, None, None, None)
    views = [replace(view, known_camera=camera) for view, camera in zip(room.views, known, strict=True)]
    model = reconstruction_from_scene(replace(room.scene, views=tuple(views)), room_tracks)
    images = {image.name: image for image in model.images.values()}
    for name, camera in zip(room.scene.names, known, strict=True):
        if camera is not None:
            assert images[name].camera.model.name == camera.model
            assert tuple(images[name].camera.params) == camera.params
    ids = [images[name].camera_id for name in room.scene.names]
    assert ids[0] == ids[1] and ids[0] not in ids[2:]
