import numpy as np

from dust3r_sfm.alignment.reading import is_usable
from dust3r_sfm.alignment.samples import draw_samples, principal_points
from dust3r_sfm.types import ImageSet


def test_samples_are_pixels_of_every_prediction_of_an_image(make_problem):
    problem = make_problem(num_images=3)
    samples = draw_samples(problem.images, problem.predictions, 100)
    image = samples.images[1]
    assert 60 <= len(image.xy) <= 140
    assert len(image.edges) == 4 and sorted(image.roles.tolist()) == [0, 0, 1, 1]
    column, row = (image.xy[7] + [12, 9] - 0.5).astype(int)
    for edge, role, points, weights in zip(image.edges, image.roles, image.points, image.weights, strict=True):
        prediction = problem.predictions[tuple(samples.edges[edge].tolist())]
        expected, confidence = (
            (prediction.points2, prediction.confidence2) if role else (prediction.points1, prediction.confidence1)
        )
        np.testing.assert_array_equal(points[:, 7], expected[row, column])
        np.testing.assert_allclose(weights[7], np.log(confidence[row, column]), rtol=1e-6)


def test_the_principal_point_is_the_middle_of_the_photograph_also_after_a_crop(make_problem):
    from dataclasses import replace

    view = replace(
        make_problem(num_images=1, edges=[]).images.views[0],
        network_from_image=np.array([[0.5, 0, -3], [0, 0.5, 0], [0, 0, 1.0]]),
    )
    np.testing.assert_allclose(principal_points(ImageSet(root=view.path, views=(view,))), [[9, 9]])


def test_what_is_not_finite_or_not_sure_is_not_used():
    one, nothing = np.float32(1), np.float32(0)
    assert is_usable(one, -one, nothing, np.float32(0.1))
    for bad in (np.float32(np.nan), np.float32(np.inf), np.float32(-np.inf)):
        for place in range(4):
            assert not is_usable(*(bad if k == place else one for k in range(4)))
    assert not is_usable(one, one, one, nothing)
    assert not is_usable(one, one, one, -one)


def test_selection_renumbers_images_and_edges(make_problem):
    problem = make_problem(num_images=4)
    samples = draw_samples(problem.images, problem.predictions, 100)
    images = np.array([True, False, True, True])
    part = samples.select(images, images[samples.edges].all(1))
    assert part.edges.tolist() == [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]
    for index, image in enumerate(part.images):
        assert (part.edges[image.edges, image.roles] == index).all()
    points, _ = part.of(3, 0)
    np.testing.assert_array_equal(points, samples.of(samples.edges.tolist().index([2, 3]), 0)[0])
