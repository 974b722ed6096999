"""A pose is believed for what speaks for it, and not for more."""

from collections.abc import Sequence

import numpy as np
import pytest

from dust3r_sfm.geometry import transforms
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.registration.absolute import Attempt, Correspondences, attempt
from dust3r_sfm.types import KnownCamera, Matches

CAMERA = KnownCamera(model="SIMPLE_PINHOLE", size=(640, 480), params=(600.0, 320.0, 240.0))
POSE = np.column_stack([transforms.rotation_exp(np.array([[0.1, -0.2, 0.05]]))[0], [0.3, -0.1, 4.0]])


def tried(
    counts: Sequence[tuple[int, int]], on_track: bool = True, extent: tuple[float, float] = (1.0, 1.0)
) -> Attempt:
    """Try a photograph whose pairs have so many right and wrong matches, in a part of the picture."""
    random = np.random.default_rng(0)
    pairs, points = [], []
    for position, (right, wrong) in enumerate(counts):
        count = right + wrong
        xy = random.uniform(0, 1, (count, 2)) * np.array([640, 480]) * extent
        rays = np.column_stack([(xy - [320, 240]) / 600, np.ones(count)]) * random.uniform(3, 6, (count, 1))
        xyz = transforms.apply(transforms.invert(POSE), rays)
        xyz[right:] = random.uniform(-2, 2, (wrong, 3))
        nothing = np.zeros(count)
        pairs.append(Matches(image1=9, image2=position, xy1=xy, xy2=xy, confidence=nothing))
        points.append(xyz)
    sizes = [len(xyz) for xyz in points]
    found = Correspondences(
        xy=np.concatenate([pair.xy1 for pair in pairs]),
        xyz=np.concatenate(points),
        on_track=np.full(sum(sizes), on_track),
        partner_of=np.repeat(np.arange(len(pairs)), sizes),
        pairs=pairs,
    )
    return attempt(9, found, colmap_camera(CAMERA), "known", 1.0, 0)


@pytest.mark.parametrize("counts", [[(40, 10)], [(10, 2), (9, 2)], [(20, 20), (12, 5), (0, 20), (1, 19)]])
def test_what_agrees_is_believed(counts) -> None:
    result = tried(counts)
    assert result.link is None and result.estimate is not None
    assert np.allclose(result.estimate.cam_from_world, POSE, atol=1e-6)
    assert {pair.image2 for pair in result.supporting} == {i for i, (right, _) in enumerate(counts) if right > 5}


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ([(20, 2)], ""),  # one image alone, which may show a twin
        ([(8, 2), (5, 1)], ""),
        ([(30, 200), (3, 40)], ""),  # far more disagree
        ([(15, 2), (12, 2), (0, 80)], "80 others contradict them"),
    ],
)
def test_what_is_doubtful_stays_out(counts, why) -> None:
    result = tried(counts)
    assert result.link is not None and result.link.why == why
    assert result.link.num_agreeing == counts[0][0] and result.link.image2 == 0


def test_points_by_depth_alone_need_two_images() -> None:
    alone = tried([(40, 5)], on_track=False)
    assert alone.link is not None and alone.link.why == "of points that no second photograph confirms"
    assert tried([(40, 5), (10, 2)], on_track=False).link is None


def test_a_corner_of_the_picture_is_not_enough() -> None:
    result = tried([(30, 5), (30, 5)], extent=(0.08, 0.08))
    assert result.link is not None and result.link.why == "in a small part of the picture"


def test_nothing_at_all() -> None:
    result = tried([(0, 12)])
    assert result.link is not None and not result.supporting
