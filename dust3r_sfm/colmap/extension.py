"""New images in an existing COLMAP model whose own cameras, poses and points do not change by a bit."""

from collections.abc import Collection

import numpy as np

from dust3r_sfm.images.known_cameras import known_camera
from dust3r_sfm.system._pycolmap import Camera, Image, Reconstruction
from dust3r_sfm.tracks.keypoints import positions


def add_images(model: Reconstruction, extra: Reconstruction, names: Collection[str]) -> int:
    """Add images of another model in the same frame, with the points that they see.

    Old images get new points2D behind their own. A new image uses an old camera where its own has exactly the same
    parameters. Points of `extra` that none of the new images sees are left out.

    Args:
        model: the model that grows; new ids follow its largest.
        extra: a model that holds the new images and any old ones under their names, old poses unchanged.
        names: the new images.

    Returns:
        Number of points added.
    """
    id_of = {image.name: image_id for image_id, image in model.images.items()}
    camera_ids: dict[int, int] = {}
    for image in sorted(extra.images.values(), key=lambda image: image.name):
        if image.name in names:
            if image.camera_id not in camera_ids:
                camera_ids[image.camera_id] = _camera_id(model, extra.cameras[image.camera_id])
            id_of[image.name] = _add_image(model, image, camera_ids[image.camera_id])
    return _add_points(model, extra, names, id_of)


def _camera_id(model: Reconstruction, camera: Camera) -> int:
    """Find the camera with exactly these parameters that is a rig by itself, or add one."""
    wanted = known_camera(camera)
    for camera_id, other in model.cameras.items():
        is_rig = camera_id in model.rigs and model.rigs[camera_id].num_sensors() == 1
        if known_camera(other) == wanted and is_rig and model.rigs[camera_id].is_ref_sensor(other.sensor_id):
            return int(camera_id)
    camera.camera_id = 1 + max([0, *model.cameras, *model.rigs])
    model.add_camera_with_trivial_rig(camera)
    return int(camera.camera_id)


def _add_image(model: Reconstruction, image: Image, camera_id: int) -> int:
    from dust3r_sfm.system._pycolmap import pycolmap

    image_id: int = 1 + max([0, *model.images, *model.frames])
    added = pycolmap.Image(image.name, positions(image.points2D), camera_id, image_id)
    model.add_image_with_trivial_frame(added, image.cam_from_world())
    return image_id


def _add_points(model: Reconstruction, extra: Reconstruction, names: Collection[str], id_of: dict[str, int]) -> int:
    from dust3r_sfm.system._pycolmap import pycolmap

    new_ids = {image.image_id for image in extra.images.values() if image.name in names}
    kept = [
        point for _, point in sorted(extra.points3D.items()) if any(e.image_id in new_ids for e in point.track.elements)
    ]
    rows: dict[tuple[int, int], int] = {}
    for point in kept:
        elements = []
        for element in point.track.elements:
            source = extra.images[element.image_id]
            target = model.images[id_of[source.name]]
            row = element.point2D_idx
            if element.image_id not in new_ids:
                key = element.image_id, row
                if key not in rows:
                    rows[key] = len(target.points2D)
                    target.points2D.append(pycolmap.Point2D(np.asarray(source.points2D[row].xy)))
                row = rows[key]
            elements.append(pycolmap.TrackElement(target.image_id, row))
        point_id = model.add_point3D(point.xyz, pycolmap.Track(elements), point.color)
        model.points3D[point_id].error = point.error
    return len(kept)
