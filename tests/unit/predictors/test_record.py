from io import BytesIO

import h5py
import numpy as np
import pytest

from dust3r_sfm.geometry.pinhole import intrinsics, project, unproject
from dust3r_sfm.predictors.record import LEAST_KNOWN, read_record, write_record
from dust3r_sfm.types import PairPrediction


@pytest.fixture
def group():
    with h5py.File(BytesIO(), "w") as file:
        yield file.create_group("edge")


def test_half_precision_is_harmless(group):
    """A smooth surface seen at 512 pixels: the projection of its points moves by far less than a pixel."""
    matrix = intrinsics(450.0, (288, 512))
    rows, columns = np.mgrid[:512, :288] / 512
    depth = 3.7 * np.exp(0.5 * np.sin(9 * rows) * np.cos(7 * columns))
    points = unproject(depth, matrix).astype(np.float32)
    twos = np.full(depth.shape, 2, np.float32)
    write_record(group, PairPrediction(points1=points, confidence1=twos, points2=points, confidence2=twos))
    moved = np.linalg.norm(project(read_record(group).points1, matrix) - project(points, matrix), axis=-1)
    assert moved.mean() < 0.05 and moved.max() < 0.3


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1.0, 4e7, 1e20])
def test_the_scale_of_a_pair_does_not_matter(group, make_prediction, scale):
    original = make_prediction()
    points = (original.points1 * np.float32(scale), original.points2 * np.float32(scale))
    write_record(
        group,
        PairPrediction(
            points1=points[0], confidence1=original.confidence1, points2=points[1], confidence2=original.confidence2
        ),
    )
    np.testing.assert_allclose(read_record(group).points2, points[1], rtol=6e-4, atol=1e-6 * scale)


def test_little_confidence_is_not_none(group, make_prediction):
    original = make_prediction()
    confidence = original.confidence1.copy()
    confidence[0], confidence[1], confidence[2] = 1.0, 1.00001, 1e9
    write_record(
        group,
        PairPrediction(
            points1=original.points1, confidence1=confidence, points2=original.points2, confidence2=original.confidence2
        ),
    )
    stored = read_record(group).confidence1
    assert (stored[0] == 1).all() and (stored[1] == 1 + 2**-10).all() and np.isfinite(stored[2]).all()
    assert LEAST_KNOWN == 1 + 2**-10 and np.nextafter(np.float16(1), np.float16(2)) == LEAST_KNOWN


def test_descriptors_are_kept(group, make_prediction):
    original = make_prediction(descriptors=5)
    write_record(group, original)
    np.testing.assert_allclose(read_record(group).descriptors1, original.descriptors1, rtol=1e-3, atol=1e-6)


def test_a_failed_pair_takes_no_room(make_prediction):
    image = BytesIO()
    with h5py.File(image, "w") as file:
        noise = np.random.default_rng(0).standard_normal((288, 512, 3), np.float32)
        ones = np.ones((288, 512), np.float32)
        write_record(
            file.create_group("edge"), PairPrediction(points1=noise, confidence1=ones, points2=noise, confidence2=ones)
        )
        stored = read_record(file["edge"])
        assert stored.points1.shape == (288, 512, 3) and (stored.points1 == 1).all()
        assert (stored.confidence1 == 1).all() and (stored.confidence2 == 1).all()
    assert len(image.getvalue()) < 8_000
