"""The plug: how local features of photographs are found and matched, and the names that they go by."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.features.features import Features
from dust3r_sfm.features.published import PublishedFile
from dust3r_sfm.features.weights import checksums, missing
from dust3r_sfm.system.plugins import load_factory, registered
from dust3r_sfm.types import View

ENTRY_POINT_GROUP = "dust3r_sfm.matchers"
AUTO, BEST = "auto", "aliked-lightglue"
"""The best that is installed, and what is best: the most right pairs and the most precise keypoints; measured:
benchmarks/features.py, 2026-11-28."""

RowMatches = tuple[Int64[np.ndarray, "m 2"], Float64[np.ndarray, " m"]]
"""Rows of the keypoints of both photographs, and how sure each match is, 0 to 1."""


@runtime_checkable
class FeatureMatcher(Protocol):
    """Finds keypoints in photographs, and says which of two photographs' are the same point.

    It is made by `factory(weights: Path | None, device: str)`, registered under its name in the entry-point group
    `dust3r_sfm.matchers`. Making it is cheap; networks are loaded when they are first used.

    Attributes:
        name: what features and records are called after.
        licence: licence of code and weights.
        files: the published weights that it needs; none where it needs none.
        weights: folder of the user's own files in their place, named as the published ones, or None.
    """

    name: str
    licence: str
    files: tuple[PublishedFile, ...]
    weights: Path | None

    def check(self) -> None:
        """Load what it needs, once.

        Raises:
            WeightsError: a file is missing, damaged or of another version.
        """
        ...

    def extract(self, view: View, long_side: int | None = None) -> Features:
        """Find the keypoints of a photograph outside its mask, in raw pixels.

        Args:
            view: the photograph.
            long_side: network pixels of the longer side of what is looked at, for networks that do not bear large
                differences in scale between photographs; default: what suits the matcher.

        Raises:
            ImageError: the photograph cannot be read any more.
        """
        ...

    def match(self, features1: Features, features2: Features, view1: View, view2: View) -> RowMatches:
        """Match the keypoints of two photographs; each takes part once at most.

        Raises:
            InputError: the features are those of another extractor.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class MatcherInfo:
    """One line of the list of matchers.

    Attributes:
        name: what `--matcher` takes.
        summary: one sentence.
        licence: licence of code and weights.
        files: the published weights that it needs.
        missing: those that are not on this machine.
    """

    name: str
    summary: str
    licence: str
    files: tuple[PublishedFile, ...] = ()
    missing: tuple[PublishedFile, ...] = ()


def list_matchers() -> list[MatcherInfo]:
    """Return the registered matchers by name; one that cannot be imported says why in its summary."""
    return [_info(name, entry_point) for name, entry_point in sorted(registered(ENTRY_POINT_GROUP).items())]


def _info(name: str, entry_point: EntryPoint) -> MatcherInfo:
    try:
        factory = entry_point.load()
    except (ImportError, AttributeError) as error:
        return MatcherInfo(name=name, summary=f"cannot be imported: {error}", licence="unknown")
    files = tuple(getattr(factory, "files", ()))
    return MatcherInfo(
        name=name,
        summary=(factory.__doc__ or "").strip().partition("\n")[0],
        licence=getattr(factory, "licence", "unknown"),
        files=files,
        missing=tuple(missing(files)),
    )


def load_matcher(name: str, weights: Path | None = None, device: str = "cpu") -> FeatureMatcher:
    """Make the matcher of a name.

    Args:
        name: as registered.
        weights: folder of the user's own files, named as the published ones.
        device: of its networks.

    Raises:
        PredictorError: when no matcher has this name, or it cannot be imported or is none.
    """
    matcher = load_factory(ENTRY_POINT_GROUP, "matcher", name)(weights, device)
    if not isinstance(matcher, FeatureMatcher):
        raise PredictorError(
            f"The matcher '{name}' lacks a part of dust3r_sfm.features.matcher.FeatureMatcher; install a version of it "
            "that fits this one of dust3r_sfm."
        )
    return matcher


def chosen_name(name: str, weights: Path | None = None) -> str:
    """The name that "auto" stands for on this machine; "sift" where SIFT is what there is.

    Raises:
        PredictorError: no matcher has this name.
    """
    matcher = choose_matcher(name, weights)
    return "sift" if matcher is None else matcher.name


def choose_matcher(name: str, weights: Path | None = None, device: str = "cpu") -> FeatureMatcher | None:
    """Make the matcher that `--matcher` names.

    Args:
        name: as registered, or "auto": the best whose weights are on this machine.
        weights: folder of the user's own files.
        device: of its networks.

    Returns:
        None where SIFT is what there is.

    Raises:
        PredictorError: no matcher has this name.
    """
    if name == AUTO:
        matcher = load_matcher(BEST, weights, device)
        return None if weights is None and missing(matcher.files) else matcher
    return None if name == "sift" else load_matcher(name, weights, device)


def matcher_facts(matcher: FeatureMatcher) -> dict[str, Any]:
    """Return what a run records about a matcher, after comparing its weights' checksums; nothing is loaded.

    Raises:
        WeightsError: a file is missing, damaged or of another version.
    """
    return {"name": matcher.name, "licence": matcher.licence, "sha256": checksums(matcher.files, matcher.weights)}
