"""A scene brought to what is known of its cameras: their frame, their scale, and the cameras themselves to the bit."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.alignment.frame.fit import rotation_and_scale
from dust3r_sfm.alignment.frame.metric import transform_scene
from dust3r_sfm.geometry.transforms import apply, centres, invert
from dust3r_sfm.types import ImageSet, Scene


def anchored(scene: Scene, images: ImageSet) -> Scene:
    """Move a scene as a whole onto the known poses, and then set these and the known intrinsics exactly.

    The rotation is the mean over the known cameras; scale and position are the least-squares ones of their centres. One
    known pose alone leaves the scale as it is.

    Args:
        scene: aligned, in any frame; one that keeps all known cameras already comes back as it is.
        images: the photographs, in the scene's order.
    """
    views = images.views
    scene = replace(scene, views=views)
    posed = scene.known_poses
    intrinsics = np.stack(
        [
            scene.intrinsics[index] if view.known_intrinsics is None else view.known_intrinsics
            for index, view in enumerate(views)
        ]
    )
    scene = replace(scene, intrinsics=intrinsics)
    if not posed.any():
        return scene
    known = (view.known_cam_from_world for view, is_posed in zip(views, posed, strict=True) if is_posed)
    given = np.stack([pose for pose in known if pose is not None])
    if np.array_equal(scene.cam_from_world[posed], given):
        return scene
    scene = transform_scene(scene, _similarity(scene.cam_from_world[posed], given))
    cam_from_world = scene.cam_from_world.copy()
    cam_from_world[posed] = given
    return replace(scene, cam_from_world=cam_from_world)


def _similarity(found: Float64[np.ndarray, "k 3 4"], given: Float64[np.ndarray, "k 3 4"]) -> Float64[np.ndarray, "4 4"]:
    """The similarity given_from_found of worlds in which the same cameras stand at these poses."""
    rotation, ratio = rotation_and_scale(invert(found), invert(given))
    similarity = np.eye(4)
    # Nothing mends the scene after this: where the centres contradict the poses, no size is right, and it shows.
    similarity[:3, :3] = max(ratio, 1e-12) * rotation
    similarity[:3, 3] = centres(given).mean(0) - apply(similarity, centres(found).mean(0)[None])[0]
    return similarity
