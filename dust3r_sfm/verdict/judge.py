"""The judgement: which figures of a model are those of wrong ones, in order of weight, and what helps."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dust3r_sfm.verdict.facts import ModelFacts

Level = Literal["good", "check", "doubtful"]

_CHECK_OF_DOUBTFUL = 0.5
"""Weight from which a figure that is not doubtful deserves a look, where the table gives no other; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How far a model is to be believed.

    Attributes:
        level: `good`; `check`: look at what is named before using the model; `doubtful`: it is likely to be wrong.
        reasons: one sentence each, with its number and the remedy, the weightiest first; none where it is good.
        weight: of the first reason; 1 and more is doubtful.
    """

    level: Level
    reasons: tuple[str, ...]
    weight: float

    def as_json(self) -> dict[str, Any]:
        """The JSON object."""
        return {"level": self.level, "reasons": list(self.reasons), "weight": float(f"{self.weight:.4g}")}

    @staticmethod
    def of_json(content: Mapping[str, Any]) -> "Verdict":
        """Read the JSON object."""
        return Verdict(level=content["level"], reasons=tuple(content["reasons"]), weight=float(content["weight"]))


GOOD: Verdict = Verdict(level="good", reasons=(), weight=0.0)
"""Nothing speaks against the model."""


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A figure that tells wrong models from right ones.

    Attributes:
        weight: 0 where all is well, 1 where the figure is only seen in wrong models; None: not known.
        sentence: what it means and what helps.
        check: weight from which it deserves a look.
    """

    weight: Callable[[ModelFacts], float | None]
    sentence: Callable[[ModelFacts], str]
    check: float = _CHECK_OF_DOUBTFUL


def judge(facts: ModelFacts) -> Verdict:
    """Judge a model by its figures.

    It is doubtful where a figure is like those of wrong models alone (see `SIGNALS`).
    """
    found = [(signal, weight) for signal in SIGNALS if (weight := signal.weight(facts)) is not None]
    found = sorted((each for each in found if each[1] >= min(each[0].check, 1.0)), key=lambda each: -each[1])
    weight = max((weight for _, weight in found), default=0.0)
    level: Level = "good" if not found else "doubtful" if weight >= 1 else "check"
    return Verdict(level=level, reasons=tuple(signal.sentence(facts) for signal, _ in found), weight=weight)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


_DISAGREEING_OF_MATCHES = 0.2
_EXCESS_OF_ERROR = 1.8
_ERROR_RAW_PX, _ERROR_OF_SIDE = 0.9, 6e-4
_CONTRADICTING_OF_PAIRS = 0.04
_PATTERN_OF_ERROR = 0.5
_PARALLAX_DEGREES = 1.0
_FOCAL_LOG = math.log(1.6)
_FOCAL_OF_SIDE = 0.35
_REJECTED_OF_PAIRS = 0.33
_CYCLE_DEGREES = 2.5
_REGISTERED_OF_GIVEN = 0.35
_KEPT_OF_MATCHES = 0.35
_OBSERVATIONS = 30.0
_WRONG_OF_POSITIONS = 0.5
"""Figures from which a model is doubtful; chosen by hand, looking at the runs of benchmarks/trust/rates.py."""

_FOLDED_WEIGHT = 0.9
"""Of signs of repeated structure in the alignment, which right models of equal sides have too; chosen by hand."""

_EXIF_WEIGHT = 0.9
"""At most, of a focal length against EXIF, which leaves out digital zoom and crops: right models contradict it too;
chosen by hand."""

_ZOOM = "with photographs of several zooms or cameras add --camera-sharing per-image"
_FISHEYE = "leave out or cut up panoramas and fisheye pictures"


def _error(facts: ModelFacts) -> float | None:
    if facts.error_px is None or facts.error_of_side is None:
        return None
    return min(facts.error_px / _ERROR_RAW_PX, facts.error_of_side / _ERROR_OF_SIDE)


SIGNALS: tuple[Signal, ...] = (
    Signal(
        weight=lambda facts: _times(
            _share(facts.num_contradicting_pairs, facts.num_verified_pairs or 0), 1 / _CONTRADICTING_OF_PAIRS
        ),
        check=1e-9,
        sentence=lambda facts: (
            f"{facts.num_contradicting_pairs} of {facts.num_verified_pairs} pairs of photographs that match well "
            f"contradict their cameras ({', '.join(facts.contradicting)}), as where repeated structure folds a model "
            "or objects move: leave out photographs that only look alike, or mask what moves."
        ),
    ),
    Signal(
        weight=lambda facts: _FOLDED_WEIGHT if facts.num_alike_pairs else None,
        sentence=lambda facts: (
            f"{facts.num_alike_pairs} pairs of photographs match well that show different things by the model: if they "
            "are of one place, the model is folded; add photographs between them."
        ),
    ),
    Signal(
        weight=lambda facts: None if facts.agreeing is None else (1 - facts.agreeing) / _DISAGREEING_OF_MATCHES,
        check=0.6,
        sentence=lambda facts: (
            f"{100 * (1 - (facts.agreeing or 0)):.0f} % of the matches between photographs miss where the cameras put "
            f"them: {_ZOOM}, {_FISHEYE}, and mask what moves."
        ),
    ),
    Signal(
        weight=lambda facts: (
            math.log(max(facts.error_px / max(facts.free_error_px, 1e-6), 1.0)) / math.log(_EXCESS_OF_ERROR)
            if facts.error_px is not None and facts.free_error_px is not None
            else None
        ),
        sentence=lambda facts: (
            f"Matches are {facts.error_px:.2f} px from where the cameras put them, and {facts.free_error_px:.2f} px "
            f"where each pair is by itself: the camera does not fit; {_ZOOM}, and check given intrinsics."
        ),
    ),
    Signal(
        weight=_error,
        check=0.75,
        sentence=lambda facts: (
            f"Matches are {facts.error_px:.2f} px from where the cameras put them, far more than sharp photographs "
            f"give: {_FISHEYE}, give larger or sharper photographs, and mask what moves."
        ),
    ),
    Signal(
        weight=lambda facts: _times(facts.residual_pattern, 1 / _PATTERN_OF_ERROR),
        check=0.7,
        sentence=lambda facts: (
            f"Errors return at the same place of every picture ({facts.residual_pattern:.2f} of the usual error): the "
            f"lens or the focal length does not fit; give --intrinsics, or photographs from more places; {_ZOOM}."
        ),
    ),
    Signal(
        weight=lambda facts: _FOLDED_WEIGHT if facts.folded else 0.0,
        sentence=lambda facts: (
            "The model may be folded by repeated structure, as the warnings say: add photographs between the sides "
            "that look alike."
        ),
    ),
    Signal(
        weight=lambda facts: 1.0 if facts.panoramas else 0.0,
        sentence=lambda facts: (
            "The photographs look like 360° panoramas, which no camera of the model stands for: cut them into "
            "perspective views."
        ),
    ),
    Signal(
        weight=lambda facts: None if not facts.parallax_degrees else _PARALLAX_DEGREES / facts.parallax_degrees,
        check=0.4,
        sentence=lambda facts: (
            f"The photographs see a point from directions only {facts.parallax_degrees:.1f}° apart (median): take "
            "them from places farther apart."
        ),
    ),
    Signal(
        weight=lambda facts: (
            None
            if facts.focal_over_exif is None
            else min(abs(math.log(facts.focal_over_exif)) / _FOCAL_LOG, _EXIF_WEIGHT)
        ),
        sentence=lambda facts: (
            f"The focal length is {facts.focal_over_exif:.2f} times that of EXIF: give --intrinsics if EXIF is right; "
            f"{_ZOOM}."
        ),
    ),
    Signal(
        weight=lambda facts: (
            None if facts.known_cameras or not facts.focal_of_side else _FOCAL_OF_SIDE / facts.focal_of_side
        ),
        check=0.75,
        sentence=lambda facts: (
            f"The focal length is {facts.focal_of_side:.2f} times the longer side, wider than lenses of photographs "
            f"are: {_FISHEYE}."
        ),
    ),
    Signal(
        weight=lambda facts: _times(_share(facts.num_rejected_pairs, facts.num_aligned_pairs), 1 / _REJECTED_OF_PAIRS),
        sentence=lambda facts: (
            f"{facts.num_rejected_pairs} of {facts.num_aligned_pairs} aligned pairs contradict the others: leave out "
            f"photographs that only look alike; {_ZOOM}."
        ),
    ),
    Signal(
        weight=lambda facts: _times(facts.cycle_degrees, 1 / _CYCLE_DEGREES),
        sentence=lambda facts: (
            f"Pairs miss each other by {facts.cycle_degrees:.1f}° around triangles of photographs (median): {_ZOOM}, "
            "and add photographs between those that are far apart."
        ),
    ),
    Signal(
        weight=lambda facts: _REGISTERED_OF_GIVEN * facts.num_given / max(facts.num_registered, 1),
        check=0.45,
        sentence=lambda facts: (
            f"Only {facts.num_registered} of {facts.num_given} photographs are in the model: add photographs between "
            "those that are left out."
        ),
    ),
    Signal(
        weight=lambda facts: None if not facts.kept else _KEPT_OF_MATCHES / facts.kept,
        check=0.6,
        sentence=lambda facts: (
            f"Only {100 * (facts.kept or 0):.0f} % of the agreeing matches became points of the model: their depths "
            "contradict the alignment; add photographs from places in between."
        ),
    ),
    Signal(
        weight=lambda facts: _OBSERVATIONS / max(facts.observations_per_image, 1.0),
        check=0.3,
        sentence=lambda facts: (
            f"A photograph sees {facts.observations_per_image:.0f} points of the model (median), too few to hold its "
            "camera: take larger, sharper photographs that overlap more."
        ),
    ),
    Signal(
        weight=lambda facts: _times(_share(facts.num_wrong_positions, facts.num_positions), 1 / _WRONG_OF_POSITIONS),
        check=0.2,
        sentence=lambda facts: (
            f"{facts.num_wrong_positions} of {facts.num_positions} measured positions contradict the model: correct "
            "them, or look for a folded part of the model."
        ),
    ),
    Signal(
        weight=lambda facts: (
            0.9 * facts.num_turned_pairs / (facts.num_turned_pairs + facts.num_aligned_pairs)
            if facts.num_turned_pairs
            else None
        ),
        check=0.45,
        sentence=lambda facts: (
            f"{facts.num_turned_pairs} pairs hold a turn of the camera and no change of place, which give no depth: "
            "take a step to the side between photographs."
        ),
    ),
    Signal(
        weight=lambda facts: 0.5 if facts.num_verified_pairs == 0 and facts.num_registered > 1 else None,
        sentence=lambda facts: (
            "No two photographs of the model share enough plain keypoints to check it by: look at the report before "
            "using it."
        ),
    ),
)
"""In no order; see `judge`."""
