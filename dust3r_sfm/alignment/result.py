"""The solved alignment as a `Scene`, and what the user should know about it."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32, Float64

from dust3r_sfm.alignment.component import Aligned
from dust3r_sfm.alignment.depth.consistency import without_contradicted
from dust3r_sfm.alignment.diagnosis import diagnose
from dust3r_sfm.alignment.samples import Samples
from dust3r_sfm.geometry.transforms import compose, invert
from dust3r_sfm.types import ImageSet, Scene

_MAX_NUM_NAMES = 8
"""Photographs that a sentence names; chosen by hand."""


def scene_of(
    images: ImageSet,
    samples: Samples,
    aligned: Aligned,
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
    confidences = without_contradicted(
        depths, confidences, intrinsics, cam_from_world, samples.edges, edge_weights, edge_residuals
    )
    scene = Scene(
        image_root=images.root,
        views=images.views,
        intrinsics=intrinsics,
        cam_from_world=cam_from_world,
        registered=aligned.images,
        depths=depths,
        confidences=confidences,
        edges=samples.edges,
        world_from_edge=world_from_edge,
        edge_weights=edge_weights,
        edge_residuals=edge_residuals,
        edge_cycles=aligned.cycles,
        covariances=_turned(aligned.covariances, first_from_world[0, :, :3]),
    )
    return replace(scene, warnings=tuple(diagnose(scene).sentences()))


def _turned(
    covariances: Float64[np.ndarray, "n 6 6"], rotation: Float64[np.ndarray, "3 3"]
) -> Float64[np.ndarray, "n 6 6"]:
    """Express covariances of turns and moves along other axes."""
    turn = np.kron(np.eye(2), rotation)
    return np.asarray(turn @ covariances @ turn.T)


def left_out(
    images: ImageSet, samples: Samples, aligned: Aligned, connected: Bool[np.ndarray, " n"]
) -> tuple[str, ...]:
    """Name the photographs that are not placed, by reason; `connected` marks those of the group that was aligned."""
    seen = np.zeros(len(images), bool)
    seen[samples.edges.ravel()] = True
    reasons = (
        (~seen & ~aligned.images, "no pair with known geometry shows"),
        (seen & ~connected, "no pair joins the largest group of photographs with"),
        (connected & ~aligned.images, "their pairs contradict those of the other photographs:"),
    )
    found = []
    for which, reason in reasons:
        if which.any():
            names = [images.names[i] for i in np.flatnonzero(which)]
            listed = ", ".join(names[:_MAX_NUM_NAMES])
            more = f" and {len(names) - _MAX_NUM_NAMES} more" if len(names) > _MAX_NUM_NAMES else ""
            found.append(f"{len(names)} of {len(images)} photographs not placed: {reason} {listed}{more}.")
    return tuple(found)
