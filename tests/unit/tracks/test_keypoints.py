"""Positions become keypoints by equality."""

import numpy as np

from dust3r_sfm.tracks.keypoints import keypoint_rows, unique_keypoints


def test_equal_positions_of_one_image_are_one_keypoint() -> None:
    image_of = np.array([1, 0, 1, 0, 1])
    xy = np.array([[5.0, 1.0], [5.0, 1.0], [2.0, 7.0], [5.0, 1.0], [5.0, 1.0]])
    image, position, keypoint_of = unique_keypoints(image_of, xy)
    assert image.tolist() == [0, 1, 1]
    assert position.tolist() == [[5.0, 1.0], [2.0, 7.0], [5.0, 1.0]]
    assert keypoint_of.tolist() == [2, 0, 1, 0, 2]


def test_rows_are_found_in_any_order_and_absence_is_minus_one() -> None:
    keypoints = np.random.default_rng(0).permutation(np.argwhere(np.ones((9, 7)))).astype(float)
    wanted = np.vstack([keypoints[[5, 0, 5, 62]], [[3.0, 2.5], [100.0, 0.0], [-1.0, -1.0]]])
    assert keypoint_rows(keypoints, wanted).tolist() == [5, 0, 5, 62, -1, -1, -1]
    assert keypoint_rows(np.zeros((0, 2)), wanted[:2]).tolist() == [-1, -1]
    assert keypoint_rows(keypoints, np.zeros((0, 2))).tolist() == []
