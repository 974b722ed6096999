"""What is measured of a finished model; the verdict follows from this alone."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Figures of a model; None where they are not known.

    The verified matches are those of keypoints anywhere in two photographs of the model that one epipolar geometry
    explains (`features.verified`): nobody told them where the model would have them.

    Attributes:
        num_given: photographs that were given.
        num_registered: those in the model.
        num_apart: those in other models.
        num_verified_pairs: pairs of photographs that show the same by the model, with enough verified matches.
        num_contradicting_pairs: those of them whose matches mostly miss the cameras' epipolar geometry.
        num_alike_pairs: further such pairs, of photographs that show different things by the model.
        contradicting: names of the worst of them.
        agreeing: share of all verified matches that the cameras agree with.
        error_px: median distance of verified matches from the cameras' epipolar geometry, raw pixels.
        error_of_side: the same over the longer side of the photographs.
        free_error_px: the same for a fundamental matrix of each pair's own: what the pictures can give.
        kept: share of the agreeing matches whose two keypoints see a point of the model.
        observations_per_image: points that a photograph sees, in the median.
        residual_pattern: systematic part of the reprojection errors, which returns at a place of the picture, over
            their median.
        parallax_degrees: largest angle at a point between two views, in the median.
        focal_over_exif: focal length over that of EXIF, of the camera where they differ most.
        focal_of_side: focal length over the longer side, of the camera with the widest view.
        num_aligned_pairs: pairs that the alignment was given.
        num_rejected_pairs: those of them that contradict the others.
        cycle_degrees: rotation by which triangles of pairs do not close, in the median.
        folded: whether the alignment found signs of repeated structure.
        num_turned_pairs: pairs whose camera only turned.
        num_positions, num_wrong_positions: measured positions, and those that the model misses.
        known_cameras: whether all cameras were given.
        panoramas: photographs that look like 360° panoramas.
    """

    num_given: int
    num_registered: int
    num_apart: int = 0
    num_verified_pairs: int | None = None
    num_contradicting_pairs: int = 0
    num_alike_pairs: int = 0
    contradicting: tuple[str, ...] = ()
    agreeing: float | None = None
    error_px: float | None = None
    error_of_side: float | None = None
    free_error_px: float | None = None
    kept: float | None = None
    observations_per_image: float = 0.0
    residual_pattern: float | None = None
    parallax_degrees: float | None = None
    focal_over_exif: float | None = None
    focal_of_side: float | None = None
    num_aligned_pairs: int = 0
    num_rejected_pairs: int = 0
    cycle_degrees: float | None = None
    folded: bool = False
    num_turned_pairs: int = 0
    num_positions: int = 0
    num_wrong_positions: int = 0
    known_cameras: bool = False
    panoramas: bool = False

    def as_json(self) -> dict[str, Any]:
        """The JSON object, floats with four digits."""
        return {
            name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in asdict(self).items()
        }

    @staticmethod
    def of_json(content: Mapping[str, Any]) -> "ModelFacts":
        """Read the JSON object; keys of other versions are passed over."""
        known = {item.name for item in fields(ModelFacts)}
        given = {name: value for name, value in content.items() if name in known}
        return ModelFacts(**given | {"contradicting": tuple(given.get("contradicting", ()))})
