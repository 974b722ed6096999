import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dust3r_sfm.errors import ImageError
from dust3r_sfm.images.resize import Grid, network_grid

sizes = st.tuples(st.integers(200, 5000), st.integers(200, 5000)).filter(lambda size: max(size) < 8 * min(size))
grids = st.builds(
    Grid,
    size=st.integers(224, 700),
    multiple_of=st.sampled_from([1, 8, 14, 16]),
    square_ok=st.booleans(),
    square_crop=st.booleans(),
)


def apply(transform: np.ndarray, *points: tuple[float, float]) -> np.ndarray:
    homogeneous = np.array([(*point, 1.0) for point in points])
    return (homogeneous @ transform.T)[:, :2]


@given(sizes, st.integers(1, 8), grids)
def test_the_network_picture_lies_centred_within_the_photograph(size, orientation, grid):
    network_size, network_from_image = network_grid(size, orientation, grid)

    corners = apply(np.linalg.inv(network_from_image), (0, 0), network_size)
    assert (corners >= -1e-6).all() and (corners <= np.array(size) + 1e-6).all()
    one_network_pixel = 1 / np.linalg.norm(network_from_image[:2, :2], axis=1).min()
    assert np.abs(corners.mean(axis=0) - np.array(size) / 2).max() <= one_network_pixel + 1e-6


@given(sizes, st.integers(1, 8), grids)
def test_the_size_obeys_the_grid(size, orientation, grid):
    (width, height), _ = network_grid(size, orientation, grid)

    assert width % grid.multiple_of == 0 and height % grid.multiple_of == 0
    if grid.square_crop:
        assert width == height == grid.size // grid.multiple_of * grid.multiple_of
    else:
        assert grid.size - grid.multiple_of < max(width, height) <= grid.size


@given(sizes, grids)
def test_the_map_turns_and_scales_but_never_mirrors(size, grid):
    for orientation in range(1, 9):
        linear = network_grid(size, orientation, grid)[1][:2, :2]
        scales = np.linalg.norm(linear, axis=0)

        assert np.linalg.det(linear) > 0
        assert abs(linear[:, 0] @ linear[:, 1]) < 1e-12
        assert scales.max() / scales.min() < 1 + 1.1 / (grid.size * min(size) / max(size))


def test_rotations_are_undone_about_the_pixel_edges():
    size = (640, 480)
    top_left_of = {1: (0, 0), 3: (512, 384), 6: (384, 0), 8: (0, 512)}
    for orientation, expected in top_left_of.items():
        _, network_from_image = network_grid(size, orientation, Grid())
        np.testing.assert_allclose(apply(network_from_image, (0, 0))[0], expected, atol=1e-9)


@pytest.mark.parametrize("orientation", [2, 4, 5, 7])
def test_mirrored_photographs_stay_raw(orientation):
    assert network_grid((640, 480), orientation, Grid())[0] == (512, 384)
    np.testing.assert_array_equal(
        network_grid((640, 480), orientation, Grid())[1], network_grid((640, 480), 1, Grid())[1]
    )


def test_squares_are_cropped_only_on_request():
    assert network_grid((800, 800), 1, Grid(multiple_of=16))[0] == (512, 512)
    assert network_grid((800, 800), 1, Grid(multiple_of=16, square_ok=False))[0] == (512, 384)


@pytest.mark.parametrize("size", [(1, 1000), (10_000, 200)])
def test_a_sliver_is_refused(size):
    with pytest.raises(ImageError, match="too narrow"):
        network_grid(size, 1, Grid(size=512, multiple_of=16))


@pytest.mark.data
def test_sizes_agree_with_dust3r(parity):
    expected = json.loads((parity / "preprocess_shapes.json").read_text())
    for case, (height, width) in expected.items():
        numbers = re.match(r"(\d+)x(\d+)\|size=(\d+)\|square_ok=(\w+)", case)
        size = int(numbers[3])
        grid = Grid(size=size, multiple_of=16, square_ok=numbers[4] == "True", square_crop=size == 224)
        assert network_grid((int(numbers[1]), int(numbers[2])), 1, grid)[0] == (width, height), case
