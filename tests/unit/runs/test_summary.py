import pytest

from dust3r_sfm.runs.summary import Summary


@pytest.mark.parametrize(("num_points", "num_images", "is_offered"), [(500, 2, True), (0, 2, False), (500, 1, False)])
@pytest.mark.parametrize("has_pointmaps", [True, False])
def test_there_is_a_next_step_only_where_it_can_work(num_points, num_images, is_offered, has_pointmaps, tmp_path):
    out = tmp_path / "my out"
    (out / ("dense_pointmaps" if has_pointmaps else "dense")).mkdir(parents=True)
    text = str(
        Summary(
            out=out,
            registered=("a.jpg", "b.jpg")[:num_images],
            dropped={},
            focals=(800.0,),
            num_points=num_points,
            mean_track_length=2.0,
            mean_reprojection_error=0.5,
            seconds={"align": 1.0},
            warnings=(),
            predictor="classical (Apache-2.0)",
            matcher="SIFT",
            refinement="none",
        )
    )
    assert (f"dust3r-sfm view '{out}'" in text) == is_offered
    assert ("the model has no points" in text) == (num_points == 0)
