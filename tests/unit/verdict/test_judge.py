"""Figures of right and wrong models, and what is said of them."""

from dataclasses import replace

import pytest

from dust3r_sfm.verdict import ModelFacts, judge
from dust3r_sfm.verdict.judge import SIGNALS, Verdict

RIGHT = ModelFacts(
    num_given=11,
    num_registered=11,
    num_verified_pairs=47,
    agreeing=0.99,
    error_px=0.18,
    error_of_side=6e-5,
    free_error_px=0.2,
    kept=0.9,
    observations_per_image=20_000.0,
    residual_pattern=0.06,
    parallax_degrees=30.0,
    focal_over_exif=1.02,
    focal_of_side=0.9,
    num_aligned_pairs=52,
    cycle_degrees=0.2,
)


def test_a_right_model_is_good() -> None:
    assert judge(RIGHT) == Verdict(level="good", reasons=(), weight=0.0)


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"num_contradicting_pairs": 4, "contradicting": ("a and b",)}, "4 of 47 pairs"),
        ({"agreeing": 0.6}, "40 % of the matches"),
        ({"error_px": 0.8, "error_of_side": 1e-4}, "0.80 px from where the cameras put them, and 0.20 px"),
        ({"error_px": 1.4, "free_error_px": 1.4, "error_of_side": 1e-3}, "far more than sharp photographs"),
        ({"residual_pattern": 0.62}, "same place of every picture"),
        ({"panoramas": True}, "cut them into perspective views"),
        ({"parallax_degrees": 0.5}, "0.5° apart"),
        ({"focal_of_side": 0.15}, "0.15 times the longer side"),
        ({"num_rejected_pairs": 30}, "30 of 52 aligned pairs"),
        ({"cycle_degrees": 3.2}, "3.2°"),
        ({"num_given": 60}, "Only 11 of 60"),
        ({"kept": 0.1}, "Only 10 %"),
        ({"observations_per_image": 3.0}, "sees 3 points"),
        ({"num_positions": 10, "num_wrong_positions": 8}, "8 of 10 measured positions"),
    ],
)
def test_what_is_wrong_is_said_with_its_number(figures: dict[str, object], said: str) -> None:
    verdict = judge(replace(RIGHT, **figures))
    assert verdict.level == "doubtful"
    assert said in verdict.reasons[0]


def test_the_weightiest_reason_stands_first() -> None:
    verdict = judge(replace(RIGHT, agreeing=0.4, cycle_degrees=2.6))
    assert "60 % of the matches" in verdict.reasons[0]
    assert "2.6°" in verdict.reasons[1]


def test_between_right_and_wrong_is_a_check() -> None:
    assert judge(replace(RIGHT, agreeing=0.85)).level == "check"
    assert judge(replace(RIGHT, folded=True)).level == "check"
    assert judge(replace(RIGHT, num_turned_pairs=200)).level == "check"
    assert judge(replace(RIGHT, num_verified_pairs=0, agreeing=None)).level == "check"


@pytest.mark.parametrize(("ratio", "said"), [(1.74, "1.74 times that of EXIF"), (1 / 1.74, "0.57 times that of EXIF")])
def test_exif_alone_makes_no_model_doubtful(ratio: float, said: str) -> None:
    """Telephones leave digital zoom out of it."""
    verdict = judge(replace(RIGHT, focal_over_exif=ratio))
    assert verdict.level == "check"
    assert said in verdict.reasons[0]


def test_what_is_not_known_says_nothing() -> None:
    bare = ModelFacts(num_given=2, num_registered=2, observations_per_image=500.0)
    assert judge(bare).level == "good"


def test_facts_and_verdicts_survive_json() -> None:
    facts = replace(RIGHT, contradicting=("a and b",), num_contradicting_pairs=1)
    read = ModelFacts.of_json(facts.as_json() | {"of another version": 1})
    assert read == facts
    verdict = judge(read)
    assert Verdict.of_json(verdict.as_json()).reasons == verdict.reasons


def test_sentences_end_with_a_remedy() -> None:
    for signal in SIGNALS:
        sentence = signal.sentence(replace(RIGHT, contradicting=("a and b",)))
        assert (sentence.endswith(".") and ":" in sentence) or ";" in sentence
