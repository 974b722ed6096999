import os
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.alignment import align
from dust3r_sfm.geometry.transforms import invert, rotation_angle
from dust3r_sfm.options import AlignOptions
from dust3r_sfm.types import ImageSet, PairPrediction, View

PARITY = Path(os.environ.get("DUST3R_SFM_PARITY", "../shared/reference/parity"))
BASE_SCALE = 0.5
"""The published implementation keeps the geometric mean of the edges' scales at this."""


@pytest.mark.data
def test_the_reference_objective_reaches_the_minimum_of_the_published_implementation():
    if not PARITY.is_dir():
        pytest.skip("no parity fixtures")
    given, wanted = np.load(PARITY / "geometry_inputs.npz"), np.load(PARITY / "geometry_expected.npz")
    height, width = given["conf_i"].shape[1:]
    # The fixtures put pixel centres at whole numbers: half a pixel is added to their principal points.
    shift = np.array([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    views = tuple(
        View(
            name=f"{i}.png",
            path=Path(f"{i}.png"),
            size=(width, height),
            orientation=1,
            network_size=(width, height),
            network_from_image=shift,
            focal_prior=None,
            camera_group=i,
        )
        for i in range(3)
    )
    predictions = {
        (int(i), int(j)): PairPrediction(
            points1=given["pred_i"][e],
            confidence1=given["conf_i"][e],
            points2=given["pred_j"][e],
            confidence2=given["conf_j"][e],
        )
        for e, (i, j) in enumerate(given["edges"])
    }
    options = AlignOptions(objective="reference", num_samples=height * width, shared_focal=False)
    scene = align(ImageSet(root=Path(), views=views), predictions, options)

    loss = 0.0
    for (i, j), world_from_edge in zip(scene.edges.tolist(), scene.world_from_edge, strict=True):
        prediction = predictions[i, j]
        for image, points, confidence in (
            (i, prediction.points1, prediction.confidence1),
            (j, prediction.points2, prediction.confidence2),
        ):
            world = points.reshape(-1, 3) @ world_from_edge[:3, :3].T + world_from_edge[:3, 3]
            loss += (np.log(confidence).ravel() * np.linalg.norm(world - _world_points(scene, image), axis=1)).mean()
    assert BASE_SCALE * loss / len(predictions) < 1.005 * wanted["ga.mst.loss_after"]
    np.testing.assert_allclose(scene.intrinsics[:, 0, 0], wanted["ga.mst.focals"], rtol=0.005)
    found, reference = invert(scene.cam_from_world), wanted["ga.mst.poses"][:, :3].astype(np.float64)
    relative = found[:, :, :3].transpose(0, 2, 1) @ found[:1, :, :3]
    expected = reference[:, :, :3].transpose(0, 2, 1) @ reference[:1, :, :3]
    assert rotation_angle(relative @ expected.transpose(0, 2, 1)).max() < 0.5
    sides = [np.linalg.norm(c[[0, 1, 2]] - c[[1, 2, 0]], axis=1) for c in (found[:, :, 3], reference[:, :, 3])]
    np.testing.assert_allclose(BASE_SCALE * sides[0], sides[1], atol=0.01)


def _world_points(scene, image: int) -> np.ndarray:
    depth, matrix = scene.depths[image], scene.intrinsics[image]
    rows, columns = np.indices(depth.shape)
    xy = np.stack([columns + 0.5 - matrix[0, 2], rows + 0.5 - matrix[1, 2]], -1) / matrix[0, 0]
    points = np.concatenate([xy, np.ones((*depth.shape, 1))], -1).reshape(-1, 3) * depth.reshape(-1, 1)
    world_from_cam = invert(scene.cam_from_world[image])
    return points @ world_from_cam[:, :3].T + world_from_cam[:, 3]
