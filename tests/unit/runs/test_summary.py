from pathlib import Path

import pytest

from dust3r_sfm.runs.summary import Summary


@pytest.mark.parametrize(("num_points", "num_images", "is_offered"), [(500, 2, True), (0, 2, False), (500, 1, False)])
def test_stereo_is_the_next_step_only_where_it_can_work(num_points, num_images, is_offered):
    text = str(
        Summary(
            out=Path("my out"),
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
    assert ("patch_match_stereo --workspace_path 'my out/dense'" in text) == is_offered
    assert ("dust3r-sfm densify 'my out'" in text) == is_offered
    assert ("the model has no points" in text) == (num_points == 0)
