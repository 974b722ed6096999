"""Which pixels of a pointmap may be matched: all of which anything is known, and those that fit a percentile."""

from io import BytesIO

import h5py
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dust3r_sfm.matching.pointmap import known_pixels
from dust3r_sfm.options import MatchOptions
from dust3r_sfm.predictors.record import read_record, write_record
from dust3r_sfm.types import PairPrediction, is_known

ANY_CONFIDENCE = st.one_of(st.just(1.0), st.floats(1.0, 2.0**60, width=32), st.floats(1.0, 1.015625, width=32))


@given(arrays(np.float32, (3, 4), elements=ANY_CONFIDENCE))
def test_whatever_is_known_survives_the_store_and_is_matched(confidence):
    points = np.ones((3, 4, 3), np.float32)
    prediction = PairPrediction(points1=points, confidence1=confidence, points2=points, confidence2=confidence)
    with h5py.File(BytesIO(), "w") as h5:
        write_record(h5.create_group("edge"), prediction)
        stored = read_record(h5["edge"])
    known = known_pixels(stored.points1, stored.confidence1, MatchOptions())
    np.testing.assert_array_equal(known, confidence > 1)
    np.testing.assert_array_equal(is_known(stored.confidence1), confidence > 1)


def test_points_that_are_no_numbers_and_the_least_confident_are_not_matched():
    points, confidence = np.ones((1, 4, 3), np.float32), np.array([[1, 2, 3, 4]], np.float32)
    points[0, 3] = np.nan
    np.testing.assert_array_equal(known_pixels(points, confidence, MatchOptions()), [[False, True, True, False]])
    half = MatchOptions(confidence_percentile=50.0)
    np.testing.assert_array_equal(known_pixels(points, confidence, half), [[False, False, True, False]])
