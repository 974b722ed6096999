"""Images put into a model of cameras and taken out of it; points are left out."""

from collections.abc import Collection

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.colmap.model import NO_TRACKS, id_of_image, image_of_id, with_points
from dust3r_sfm.system._pycolmap import Camera, Reconstruction


def with_image(
    cameras: Reconstruction, index: int, name: str, cam_from_world: Float64[np.ndarray, "3 4"], camera: Camera
) -> Reconstruction:
    """A model with one more image.

    Args:
        cameras: a model whose image ids are those of `id_of_image`.
        index: ours, of the new image.
        name: of the new image.
        cam_from_world: pose of its raw camera.
        camera: one of the model's own, by its id, or a new one, which `camera_id` 0 or an unused id says.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    grown = with_points(cameras, NO_TRACKS)
    camera_id = int(camera.camera_id)
    if camera_id not in grown.cameras:
        copy = pycolmap.Camera(model=camera.model, width=camera.width, height=camera.height, params=camera.params)
        copy.camera_id = camera_id = 1 + max(grown.cameras, default=0)
        grown.add_camera_with_trivial_rig(copy)
    image = pycolmap.Image(name, np.zeros((0, 2)), camera_id, id_of_image(index))
    grown.add_image_with_trivial_frame(image, pycolmap.Rigid3d(cam_from_world))
    return grown


def without_images(cameras: Reconstruction, indices: Collection[int]) -> Reconstruction:
    """A model without some of its images, and without the cameras that only these had."""
    from dust3r_sfm.system._pycolmap import pycolmap

    kept = {i: image for i, image in sorted(cameras.images.items()) if image_of_id(i) not in indices}
    used = {image.camera_id for image in kept.values()}
    fewer = pycolmap.Reconstruction()
    for camera_id, camera in sorted(cameras.cameras.items()):
        if camera_id in used:
            copy = pycolmap.Camera(model=camera.model, width=camera.width, height=camera.height, params=camera.params)
            copy.camera_id, copy.has_prior_focal_length = camera_id, camera.has_prior_focal_length
            fewer.add_camera_with_trivial_rig(copy)
    for image_id, image in kept.items():
        copied = pycolmap.Image(image.name, np.zeros((0, 2)), image.camera_id, image_id)
        fewer.add_image_with_trivial_frame(copied, image.cam_from_world())
    return fewer
