"""Guided matching: the truth inside the window, and no confusion by what looks the same elsewhere."""

import numpy as np

from dust3r_sfm.features.guided import ProjectedKeypoints, SearchWindow, guided_matches
from dust3r_sfm.geometry import transforms


def test_outside_the_gate_nothing_matches() -> None:
    look = np.eye(4, dtype=np.float32)
    xy = np.array([[0.0, 0.0], [0.2, 0.0], [0.0, 0.2], [-0.2, 0.1]])
    sight = ProjectedKeypoints(xy=xy, depth=np.full(4, 2.0), descriptors=look)
    shifted = ProjectedKeypoints(xy=xy + np.array([0.0, 0.1]), depth=np.full(4, 2.0), descriptors=look)
    sideways = np.eye(3, 4)
    window = SearchWindow(across=0.01, depth=0.1)
    assert len(guided_matches(sight, shifted, sideways, window)[0]) == 0
    assert len(guided_matches(sight, sight, sideways, window)[0]) == 4
    # A baseline along x lets the depth move places along x only.
    sideways[0, 3] = 0.1
    places = ProjectedKeypoints(xy=xy + np.array([0.1 / 2.1, 0.0]), depth=np.full(4, 2.0), descriptors=look)
    assert len(guided_matches(sight, places, sideways, window)[0]) == 4


def test_same_as_trying_every_pair() -> None:
    rng = np.random.default_rng(0)
    descriptors = rng.normal(size=(400, 16))
    descriptors = (descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)).astype(np.float32)
    seen = descriptors + 0.1 * rng.normal(size=descriptors.shape)
    seen = (seen / np.linalg.norm(seen, axis=1, keepdims=True)).astype(np.float32)
    xy, depth, window = rng.uniform(-0.7, 0.5, (400, 2)), rng.uniform(1, 4, 400), SearchWindow(across=0.05, depth=0.3)
    pose = np.column_stack([np.eye(3), [0.4, -0.3, 0.1]])
    rays = np.column_stack([xy, np.ones(400)]) * depth[:, None]
    near, middle, far = (
        place[:, :2] / place[:, 2:] for place in (transforms.apply(pose, rays * s) for s in (0.7, 1, 1.3))
    )
    places = middle + rng.normal(scale=0.02, size=middle.shape)
    along = (far - near) / np.linalg.norm(far - near, axis=1, keepdims=True)
    offset = places[None] - near[:, None]
    forward = np.einsum("ijk,ik->ij", offset, along)
    sideways = np.abs(offset[..., 1] * along[:, None, 0] - offset[..., 0] * along[:, None, 1])
    inside = (sideways <= window.across) & (forward >= -window.across)
    inside &= forward <= np.linalg.norm(far - near, axis=1)[:, None] + window.across
    similarity = np.where(inside, descriptors @ seen.T, -1.0)
    angle = np.arccos(np.clip(similarity, -1, 1))
    best = angle.argmin(axis=1)
    rows, columns = np.sort(angle, axis=1), np.sort(angle, axis=0)
    expected = [
        (i, j)
        for i, j in enumerate(best.tolist())
        if similarity[i, j] >= 0.765
        and angle[:, j].argmin() == i
        and rows[i, 0] <= 0.8 * rows[i, 1]
        and columns[0, j] <= 0.8 * columns[1, j]
    ]
    found, values = guided_matches(
        ProjectedKeypoints(xy=xy, depth=depth, descriptors=descriptors),
        ProjectedKeypoints(xy=places, depth=depth, descriptors=seen),
        pose,
        window,
    )
    assert 0.01 < inside.mean() < 0.2 and len(expected) > 100
    assert found.tolist() == [list(pair) for pair in expected]
    assert np.allclose(values, similarity[tuple(found.T)], atol=1e-6)


def test_pixels_without_a_ray_do_not_match() -> None:
    look = np.eye(4, dtype=np.float32)
    xy = np.array([[0.0, 0.0], [0.2, 0.0], [0.0, 0.2], [np.nan, np.nan]])
    sight = ProjectedKeypoints(xy=xy, depth=np.full(4, 2.0), descriptors=look)
    nowhere = ProjectedKeypoints(xy=xy[[3, 3, 3, 3]], depth=np.full(4, 2.0), descriptors=look)
    window = SearchWindow(across=0.01, depth=0.1)
    assert guided_matches(sight, sight, np.eye(3, 4), window)[0].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert len(guided_matches(sight, nowhere, np.eye(3, 4), window)[0]) == 0


def test_nothing_to_match() -> None:
    empty = ProjectedKeypoints(xy=np.zeros((0, 2)), depth=np.zeros(0), descriptors=np.zeros((0, 4), np.float32))
    one = ProjectedKeypoints(xy=np.zeros((1, 2)), depth=np.zeros(1), descriptors=np.ones((1, 4), np.float32) / 2)
    for first, second in ((empty, one), (one, empty), (one, one)):
        found, similarity = guided_matches(first, second, np.eye(3, 4), SearchWindow(across=0.1, depth=0.1))
        assert found.shape == (0, 2) and len(similarity) == 0
