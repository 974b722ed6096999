"""Depth and confidence as pictures: what is near, sure and unknown can be told apart."""

import numpy as np

from dust3r_sfm.images.colour_maps import confidence_colours, depth_colours


def test_near_is_red_far_is_blue_unknown_is_black():
    depth = np.tile(np.linspace(1, 20, 100, dtype=np.float32), (50, 1))
    depth[:10], depth[10] = 0, np.nan
    shown = depth_colours(depth)
    red, green, blue = shown[20, [3, 50, 97]].astype(int).T
    assert red[0] > blue[0] + 50 and blue[2] > red[2] and green.max() > 0
    assert (shown[:11] == 0).all()
    assert (depth_colours(np.zeros_like(depth)) == 0).all()


def test_sure_is_bright_and_unknown_is_black():
    confidence = np.tile(np.linspace(1, 30, 100, dtype=np.float32), (20, 1))
    shown = confidence_colours(confidence).astype(int).sum(axis=-1)
    assert (shown[:, 0] == 0).all()
    assert (shown[:, 95] > shown[:, 30]).all()
