"""Matchers one after the other: the cheap one where it is clear, the dear one where it is not."""

import numpy as np

from dust3r_sfm.registration.matcher import FirstOf
from dust3r_sfm.types import Matches


class Finds:
    """Finds so many matches in every pair."""

    def __init__(self, count: int) -> None:
        self.count, self.asked = count, 0

    def __call__(self, image1: int, image2: int) -> Matches:
        self.asked += 1
        xy = np.zeros((self.count, 2))
        return Matches(image1=image1, image2=image2, xy1=xy, xy2=xy, confidence=np.ones(self.count))

    def likeness(self, image: int, others: object) -> np.ndarray:
        return np.array([float(self.count)])


def test_the_dear_one_is_asked_only_where_the_cheap_one_is_not_clear() -> None:
    cheap, dear = Finds(200), Finds(300)
    assert len(FirstOf([cheap, dear])(0, 1).xy1) == 200
    assert dear.asked == 0


def test_of_two_that_are_not_clear_the_one_that_finds_more_has_the_word() -> None:
    assert len(FirstOf([Finds(20), Finds(40)])(0, 1).xy1) == 40
    assert len(FirstOf([Finds(20), Finds(0)])(0, 1).xy1) == 20


def test_the_dear_one_says_how_much_photographs_are_alike() -> None:
    assert FirstOf([Finds(20), Finds(40)]).likeness(0, [1]) == [40.0]
