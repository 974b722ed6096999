"""The solved alignment as a `Scene`, and what the user should know about it."""

import numpy as np
from jaxtyping import Bool, Float32, Float64

from dust3r_sfm.alignment.component import Aligned
from dust3r_sfm.alignment.samples import Samples
from dust3r_sfm.geometry.transforms import compose, invert
from dust3r_sfm.types import ImageSet, Scene

MAX_NAMES = 8


def scene_of(
    images: ImageSet,
    samples: Samples,
    aligned: Aligned,
    connected: Bool[np.ndarray, " n"],
    intrinsics: Float64[np.ndarray, "n 3 3"],
    depths: tuple[Float32[np.ndarray, "_ _"], ...],
    confidences: tuple[Float32[np.ndarray, "_ _"], ...],
) -> Scene:
    """Put everything into a `Scene` whose world is the frame of the first registered camera."""
    placement = aligned.placement
    world_from_cam = np.concatenate([placement.rotations, placement.centres[:, :, None]], axis=2)
    world_from_frame = np.concatenate([placement.edge_rotations, placement.edge_centres[:, :, None]], axis=2)
    first_from_world = invert(world_from_cam[:1])
    cam_from_world = np.tile(np.eye(3, 4), (len(images), 1, 1))
    cam_from_world[aligned.images] = invert(compose(first_from_world, world_from_cam))
    cam_from_world[np.argmax(aligned.images)] = np.eye(3, 4)

    num_edges = len(samples.edges)
    world_from_edge = np.tile(np.eye(4), (num_edges, 1, 1))
    world_from_edge[aligned.edges, :3] = compose(first_from_world, world_from_frame)
    world_from_edge[aligned.edges, :3, :3] *= np.exp(placement.log_scales)[:, None, None]
    edge_weights, edge_residuals = np.zeros(num_edges), np.full(num_edges, np.inf)
    edge_weights[aligned.edges], edge_residuals[aligned.edges] = aligned.weights, aligned.residuals
    return Scene(
        image_root=images.root,
        names=images.names,
        image_sizes=np.array([view.size for view in images.views], np.int64),
        network_sizes=np.array([view.network_size for view in images.views], np.int64),
        network_from_image=np.stack([view.network_from_image for view in images.views]).astype(np.float64),
        camera_groups=np.array([view.camera_group for view in images.views], np.int64),
        intrinsics=intrinsics,
        cam_from_world=cam_from_world,
        registered=aligned.images,
        depths=depths,
        confidences=confidences,
        edges=samples.edges,
        world_from_edge=world_from_edge,
        edge_weights=edge_weights,
        edge_residuals=edge_residuals,
        warnings=_warnings(images, samples, aligned, connected),
    )


def _warnings(
    images: ImageSet, samples: Samples, aligned: Aligned, connected: Bool[np.ndarray, " n"]
) -> tuple[str, ...]:
    seen = np.zeros(len(images), bool)
    seen[samples.edges.ravel()] = True
    pairs = np.unique(np.sort(samples.edges[aligned.edges], axis=1), axis=0)
    partners = np.bincount(pairs.ravel(), minlength=len(images))
    single = aligned.images & (partners == 1) & (len(images) > 2)
    reasons = (
        (~seen & ~aligned.images, "not placed: no pair with known geometry shows"),
        (seen & ~connected, "not placed: no pair joins the largest group of photographs with"),
        (connected & ~aligned.images, "not placed: their pairs contradict those of the other photographs:"),
        (single, "placed by one pair only, which nothing checks:"),
    )
    found = []
    for which, reason in reasons:
        if which.any():
            names = [images.names[i] for i in np.flatnonzero(which)]
            more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
            found.append(f"{len(names)} of {len(images)} photographs {reason} {', '.join(names[:MAX_NAMES])}{more}.")
    return tuple(found)
