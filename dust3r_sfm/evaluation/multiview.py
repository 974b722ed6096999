"""Relative poses as the tables on CO3Dv2 and RealEstate10K count them: RRA, RTA and mAA over the pairs of a few frames.

The protocol is that of PoseDiffusion (Wang et al., ICCV 2023, section 4), which DUSt3R (Wang et al., CVPR 2024, section
4.2 and appendix D) and its successors follow. It differs from `evaluation.poses`, which judges models: the direction of
the translation has no sign, accuracy is strictly below the threshold, and the area under the curve has 1-degree bins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.colmap.model import Reconstruction
from dust3r_sfm.evaluation.poses import matched_poses, relative_poses
from dust3r_sfm.geometry.transforms import rotation_angle

_ACCURACY_DEGREES = (5, 15, 30)
"""Thresholds of the tables (DUSt3R prints 15)."""
_MAA_DEGREES = 30
"""Bins of 1 degree of the mean average accuracy (DUSt3R, section 4.2)."""
_MIN_SINE_SQUARED, _MIN_LENGTH = 1e-15, 1e-15
"""PoseDiffusion's guards: of 1 - cos² of the angle between directions, and added to the length of a translation."""
_NO_POSE_DEGREES = 1e6
"""Error of a pair without a pose, and of one whose angle is no number (PoseDiffusion)."""


@dataclass(frozen=True, kw_only=True)
class PairErrors:
    """Errors of the pairs of some frames, degrees; 1e6 for a pair without a pose.

    Attributes:
        rotation: of the relative rotations.
        translation: between the lines of the relative translations, 0 to 90.
    """

    rotation: Float64[np.ndarray, " p"]
    translation: Float64[np.ndarray, " p"]


@dataclass(frozen=True, kw_only=True)
class MultiviewErrors:
    """The figures of a sequence, or of all pairs of a category.

    Attributes:
        num_pairs, num_placed: pairs, and those with a pose.
        rra, rta: share of pairs, in percent, whose error is strictly below each threshold (degrees).
        maa: mean over 1 to 30 degrees of the share of pairs whose larger error is below, percent.
    """

    num_pairs: int
    num_placed: int
    rra: Mapping[int, float]
    rta: Mapping[int, float]
    maa: float

    def rows(self) -> dict[str, int | float]:
        """Names and values for a table, a JSON file or the terminal."""
        return {
            "pairs": self.num_pairs,
            "placed": self.num_placed,
            **{f"RRA@{threshold}": value for threshold, value in self.rra.items()},
            **{f"RTA@{threshold}": value for threshold, value in self.rta.items()},
            f"mAA@{_MAA_DEGREES}": self.maa,
        }

    def __str__(self) -> str:
        """The figures as a table of names and rounded values."""
        return "\n".join(f"{name:24} {value:.6g}" for name, value in self.rows().items())


def evaluate_multiview(model: Path | Reconstruction, reference: Path) -> MultiviewErrors:
    """Judge a model as a sequence of CO3D is judged: over all pairs of the reference's images.

    Args:
        model: folder of a COLMAP model, or a `pycolmap.Reconstruction`.
        reference: a poses.json, a transforms.json, or the folder of a COLMAP model.

    Raises:
        InputError: see `evaluation.poses.evaluate_poses`.
    """
    matched = matched_poses(model, reference)
    return multiview_errors(pose_errors(matched.truth, matched.found, matched.placed))


def pose_errors(
    truth: Float64[np.ndarray, "n 3 4"], found: Float64[np.ndarray, "n 3 4"], placed: Bool[np.ndarray, " n"]
) -> PairErrors:
    """Compare the poses (camera from world) of frames, each pair of frames once.

    Args:
        truth: the true ones.
        found: those to judge, in any world and scale.
        placed: frames that have a pose.
    """
    first, second = np.triu_indices(len(truth), k=1)
    return relative_pose_errors(relative_poses(truth), relative_poses(found), placed[first] & placed[second])


def relative_pose_errors(
    truth: Float64[np.ndarray, "p 3 4"], found: Float64[np.ndarray, "p 3 4"], placed: Bool[np.ndarray, " p"]
) -> PairErrors:
    """Compare relative poses (camera 2 from camera 1).

    Args:
        truth: the true ones; the length of a translation does not count.
        found: those to judge.
        placed: pairs that have a pose.
    """
    rotation = rotation_angle(found[:, :, :3] @ np.swapaxes(truth[:, :, :3], 1, 2))
    cosine = np.sum(_directions(truth) * _directions(found), axis=1)
    sine_squared = np.maximum(1 - cosine**2, _MIN_SINE_SQUARED)
    translation = np.degrees(np.arccos(np.sqrt(1 - sine_squared)))
    return PairErrors(rotation=_counted(rotation, placed), translation=_counted(translation, placed))


def multiview_errors(errors: PairErrors) -> MultiviewErrors:
    """Count the pairs of a sequence, or of a category whose pairs were put together."""
    return MultiviewErrors(
        num_pairs=len(errors.rotation),
        num_placed=int((errors.rotation < _NO_POSE_DEGREES).sum()),
        rra={threshold: accuracy(errors.rotation, threshold) for threshold in _ACCURACY_DEGREES},
        rta={threshold: accuracy(errors.translation, threshold) for threshold in _ACCURACY_DEGREES},
        maa=mean_average_accuracy(errors),
    )


def accuracy(errors: Float64[np.ndarray, " p"], threshold: int | float) -> float:
    """Share of errors strictly below a threshold, percent."""
    return 100.0 * float(np.mean(errors < threshold))


def mean_average_accuracy(errors: PairErrors, degrees: int = _MAA_DEGREES) -> float:
    """Area under the curve of a pair's larger error: a histogram of 1-degree bins, cumulated and averaged, percent."""
    larger = np.maximum(errors.rotation, errors.translation)
    counts, _ = np.histogram(larger, bins=np.arange(degrees + 1))
    return 100.0 * float(np.mean(np.cumsum(counts) / len(larger)))


def pooled(errors: list[PairErrors]) -> PairErrors:
    """Put the pairs of several sequences together, as a category is counted."""
    return PairErrors(
        rotation=np.concatenate([one.rotation for one in errors]),
        translation=np.concatenate([one.translation for one in errors]),
    )


def _directions(poses: Float64[np.ndarray, "p 3 4"]) -> Float64[np.ndarray, "p 3"]:
    translation = poses[:, :, 3]
    return np.asarray(translation / (np.linalg.norm(translation, axis=1, keepdims=True) + _MIN_LENGTH))


def _counted(degrees: Float64[np.ndarray, " p"], placed: Bool[np.ndarray, " p"]) -> Float64[np.ndarray, " p"]:
    return np.where(placed & np.isfinite(degrees), degrees, _NO_POSE_DEGREES)
