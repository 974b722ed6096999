"""Two parts in one world: cameras, depths and matches of both."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.colmap.images import with_image
from dust3r_sfm.colmap.model import id_of_image
from dust3r_sfm.geometry.transforms import apply, invert
from dust3r_sfm.registration.part import Part
from dust3r_sfm.registration.photographs import is_same_camera
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.types import Matches, Scene


def merged(first: Part, second: Part, first_from_second: Float64[np.ndarray, "4 4"], across: Sequence[Matches]) -> Part:
    """Put two parts into the world of the first.

    Args:
        first, second: the parts; they share no image.
        first_from_second: similarity of their worlds (4, 4).
        across: matches between them.
    """
    scale = float(np.cbrt(np.linalg.det(first_from_second[:3, :3])))
    model = first.refinement.model
    for image in second.images:
        pose = second.state.cameras.cam_from_world[image]
        model = _with_moved(model, first, second, image, _moved(pose, first_from_second, scale))
    mine = np.isin(np.arange(len(first.scene.names)), second.images)
    scene, depths = first.scene, first.refinement.depths
    moved = [depth * np.float32(scale) for depth in second.refinement.depths.depths]
    return Part(
        scene=_with_rows(scene, second.scene, first_from_second, scale),
        refinement=replace(
            first.refinement,
            model=model,
            depths=replace(
                depths,
                depths=tuple(moved[i] if mine[i] else depths.depths[i] for i in range(len(mine))),
                confidences=tuple(
                    (second if mine[i] else first).refinement.depths.confidences[i] for i in range(len(mine))
                ),
            ),
            matches=[*first.refinement.matches, *second.refinement.matches, *across],
            applied=first.refinement.applied and second.refinement.applied,
            trust_depths=first.refinement.trust_depths and second.refinement.trust_depths,
        ),
        found=[*first.found, *second.found],
        added=(*first.added, *second.images),
        moved=(*first.moved, *second.moved),
    )


def _moved(
    cam_from_world: Float64[np.ndarray, "3 4"], first_from_second: Float64[np.ndarray, "4 4"], scale: float
) -> Float64[np.ndarray, "3 4"]:
    """A pose in another world, whose unit is its own divided by `scale`."""
    world_from_cam = invert(cam_from_world)
    rotation = first_from_second[:3, :3] / scale @ world_from_cam[:, :3]
    centre = apply(first_from_second, world_from_cam[None, :, 3])[0]
    return invert(np.column_stack([rotation, centre]))


def _with_moved(
    model: Reconstruction, first: Part, second: Part, image: int, pose: Float64[np.ndarray, "3 4"]
) -> Reconstruction:
    """The model with an image of the second part; with a camera of the first where both were taken with it."""
    from dust3r_sfm.system._pycolmap import pycolmap

    views = first.scene.views
    shared = {
        int(model.images[id_of_image(other)].camera_id)
        for other in (*first.images, *second.images)
        if id_of_image(other) in model.images and is_same_camera(views[other], views[image])
    }
    if len(shared) == 1:
        camera = model.cameras[shared.pop()]
    else:
        own = second.refinement.model
        camera = pycolmap.Camera(own.cameras[own.images[id_of_image(image)].camera_id].todict())
        camera.camera_id = 0
    return with_image(model, image, views[image].name, pose, camera)


def _with_rows(scene: Scene, other: Scene, world_from_other: Float64[np.ndarray, "4 4"], scale: float) -> Scene:
    """A scene with what another one placed."""
    mine, edges = other.registered, other.edge_weights > 0
    poses, intrinsics = scene.cam_from_world.copy(), scene.intrinsics.copy()
    for image in np.flatnonzero(mine):
        poses[image] = _moved(other.cam_from_world[image], world_from_other, scale)
        intrinsics[image] = other.intrinsics[image]
    world_from_edge = scene.world_from_edge.copy()
    world_from_edge[edges] = world_from_other @ other.world_from_edge[edges]
    return replace(
        scene,
        registered=scene.registered | mine,
        cam_from_world=poses,
        intrinsics=intrinsics,
        depths=tuple(
            there * np.float32(scale) if is_mine else here
            for here, there, is_mine in zip(scene.depths, other.depths, mine, strict=True)
        ),
        confidences=tuple(
            there if is_mine else here
            for here, there, is_mine in zip(scene.confidences, other.confidences, mine, strict=True)
        ),
        world_from_edge=world_from_edge,
        edge_weights=np.where(edges, other.edge_weights, scene.edge_weights),
        edge_residuals=np.where(edges, other.edge_residuals, scene.edge_residuals),
        covariances=None,
    )
