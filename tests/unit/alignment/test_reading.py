import numpy as np
import pytest

from dust3r_sfm.alignment import align
from dust3r_sfm.alignment.reading import read_pointmaps
from dust3r_sfm.errors import PredictorError
from dust3r_sfm.options import AlignOptions
from dust3r_sfm.predictors.store import PredictionStore, PredictionWriter, StoreHeader


@pytest.fixture
def stored(make_problem, tmp_path):
    """A problem, and the store of its predictions."""
    problem = make_problem(num_images=4)
    header = StoreHeader(predictor="test", licence="none", fingerprint="0")
    path, names = tmp_path / "predictions.h5", problem.images.names
    with PredictionWriter(path, names, header) as writer:
        for edge, prediction in problem.predictions.items():
            writer.add(edge, prediction)
    return problem, PredictionStore(path, names)


@pytest.mark.parametrize("role", [0, 1])
def test_a_stored_pointmap_reads_like_the_whole_prediction(stored, role):
    problem, store = stored
    whole = store[2, 1]
    points, confidence = (whole.points2, whole.confidence2) if role else (whole.points1, whole.confidence1)
    (pointmap,) = read_pointmaps(problem.images, store, (2, 1), [role])
    assert pointmap.points.dtype == np.float16
    rows, columns = np.array([3, 0, 17]), np.array([5, 23, 0])
    part, sure = pointmap.take(rows * points.shape[1] + columns)
    assert part.dtype == sure.dtype == np.float32
    np.testing.assert_array_equal(part, points[rows, columns])
    np.testing.assert_array_equal(sure, confidence[rows, columns])
    part, sure = pointmap.take()
    np.testing.assert_array_equal(part, points.reshape(-1, 3))
    np.testing.assert_array_equal(sure, confidence.ravel())


def test_both_pointmaps_of_a_plain_mapping(stored):
    problem, _ = stored
    first, second = read_pointmaps(problem.images, problem.predictions, (0, 3))
    np.testing.assert_array_equal(first.take()[0], problem.predictions[0, 3].points1.reshape(-1, 3))
    np.testing.assert_array_equal(second.take()[1], problem.predictions[0, 3].confidence2.ravel())


def test_alignment_from_a_store_is_that_of_what_it_holds(stored):
    problem, store = stored
    from_store = align(problem.images, store, AlignOptions())
    from_memory = align(problem.images, {edge: store[edge] for edge in store}, AlignOptions())
    np.testing.assert_array_equal(from_store.cam_from_world, from_memory.cam_from_world)
    np.testing.assert_array_equal(from_store.depths[1], from_memory.depths[1])


def test_a_pointmap_of_another_size_is_refused_by_name(make_problem):
    problem, other = make_problem(num_images=3), make_problem(num_images=3, shape=(18, 22))
    with pytest.raises(PredictorError, match=r"000\.png and 002\.png .* 22 x 18 pixels for 002\.png"):
        read_pointmaps(problem.images, other.predictions, (0, 2), [1])
