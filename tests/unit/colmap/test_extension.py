"""Images added to a model: the old part stays to the bit, the new part is where it was."""

from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.colmap.extension import add_images
from dust3r_sfm.colmap.model import reconstruction_from_scene, write_model
from dust3r_sfm.system._pycolmap import pycolmap


@pytest.fixture
def whole(room, room_tracks):
    return reconstruction_from_scene(room.scene, room_tracks)


def without(reconstruction, names):
    """The model as it was before some images came, with other ids, in another order."""
    part = pycolmap.Reconstruction()
    for camera in reconstruction.cameras.values():
        part.add_camera_with_trivial_rig(camera)
    for image in reconstruction.images.values():
        if image.name not in names:
            copy = pycolmap.Image(
                image.name, np.array([point.xy for point in image.points2D]), image.camera_id, 50 - image.image_id
            )
            part.add_image_with_trivial_frame(copy, image.cam_from_world())
    for point in reconstruction.points3D.values():
        elements = [e for e in point.track.elements if reconstruction.images[e.image_id].name not in names]
        if len(elements) >= 2:
            track = pycolmap.Track([pycolmap.TrackElement(50 - e.image_id, e.point2D_idx) for e in elements])
            part.add_point3D(point.xyz, track, point.color)
    return part


def old_facts(model, folder: Path, old_names, old_points):
    """All numbers of the old part, as they come back from the disk."""
    write_model(model, folder)
    read = pycolmap.Reconstruction(str(folder))
    images = {image.name: image for image in read.images.values()}
    return {
        "cameras": {name: (images[name].camera.model, tuple(images[name].camera.params)) for name in old_names},
        "ids": {name: images[name].image_id for name in old_names},
        "poses": {
            name: (*images[name].cam_from_world().rotation.quat, *images[name].cam_from_world().translation)
            for name in old_names
        },
        "points": {
            point_id: (tuple(read.points3D[point_id].xyz), read.points3D[point_id].track.length())
            for point_id in old_points
        },
    }


@pytest.mark.parametrize("num_new", [1, 3])
def test_the_old_part_stays_and_the_new_part_arrives(whole, tmp_path, num_new):
    names = sorted(image.name for image in whole.images.values())
    new = set(names[-num_new:])
    model = without(whole, new)
    old_points = set(model.points3D)
    before = old_facts(model, tmp_path / "before", set(names) - new, old_points)
    num_points = add_images(model, whole, new)
    assert old_facts(model, tmp_path / "after", set(names) - new, old_points) == before

    assert len(model.points3D) == len(old_points) + num_points and num_points > 50
    read = pycolmap.Reconstruction(str(tmp_path / "after"))
    by_name = {image.name: image for image in read.images.values()}
    assert set(by_name) == set(names)
    for image in whole.images.values():
        if image.name in new:
            added = by_name[image.name]
            np.testing.assert_array_equal(added.cam_from_world().matrix(), image.cam_from_world().matrix())
            assert list(added.camera.params) == list(image.camera.params)
            assert added.num_points3D == image.num_points3D
    assert len(read.cameras) == len(whole.cameras)
    for point_id, point in read.points3D.items():
        for element in point.track.elements:
            image = read.images[element.image_id]
            assert image.points2D[element.point2D_idx].point3D_id == point_id
            error = image.project_point(point.xyz) - image.points2D[element.point2D_idx].xy
            assert np.linalg.norm(error) < 20


def test_a_camera_of_other_parameters_is_added(whole):
    names = sorted(image.name for image in whole.images.values())
    model = without(whole, {names[0]})
    for camera in model.cameras.values():
        camera.params = camera.params * 1.01
    before = {camera_id: list(camera.params) for camera_id, camera in model.cameras.items()}
    add_images(model, whole, {names[0]})
    assert {camera_id: list(model.cameras[camera_id].params) for camera_id in before} == before
    assert len(model.cameras) == len(before) + 1
