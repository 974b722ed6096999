"""Poses of localized photographs against reference poses: medians and recalls, as hloc and DUSt3R count them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import centres, rotation_angle
from dust3r_sfm.images.known_poses import read_poses
from dust3r_sfm.system.text import read_text

HLOC_THRESHOLDS = ((0.01, 1.0), (0.02, 2.0), (0.03, 3.0), (0.05, 5.0), (0.25, 2.0), (0.5, 5.0), (5.0, 10.0))
"""Metres and degrees of hloc's evaluation of 7-Scenes and Cambridge."""
DUST3R_THRESHOLDS = ((0.1, 1.0), (0.25, 2.0), (0.5, 5.0), (5.0, 10.0))
"""Metres and degrees of DUSt3R's localization."""
OUR_THRESHOLDS = ((0.25, 5.0),)
"""Metres and degrees of our own targets."""


@dataclass(frozen=True, kw_only=True)
class LocalizationErrors:
    """Errors over ALL queries of the reference: one without a pose counts as infinitely far and turned by 180°.

    Attributes:
        num_queries, num_localized: counts.
        median_translation: of the distances between camera centres, world units (metres where the map is metric).
        median_rotation: degrees.
        recall: share of queries, in percent, within each (distance, degrees).
        translation, rotation: errors by name.
    """

    num_queries: int
    num_localized: int
    median_translation: float
    median_rotation: float
    recall: Mapping[tuple[float, float], float]
    translation: Mapping[str, float]
    rotation: Mapping[str, float]

    def rows(self) -> dict[str, int | float]:
        """Names and values for a table, a JSON file or the terminal."""
        return {
            "queries": self.num_queries,
            "localized": self.num_localized,
            "median_translation": self.median_translation,
            "median_rotation_deg": self.median_rotation,
            **{f"recall@{distance:g},{angle:g}deg": value for (distance, angle), value in self.recall.items()},
        }

    def __str__(self) -> str:
        return "\n".join(f"{name:<24}{value:.4g}" for name, value in self.rows().items())


def evaluate_localization(results: Path, reference: Path, names: list[str] | None = None) -> LocalizationErrors:
    """Compare a results file in hloc's format with reference poses.

    Args:
        results: `name qw qx qy qz tx ty tz` a line, camera from world.
        reference: COLMAP model, poses.json, transforms.json or folder of 7-Scenes' pose files, in the map's world.
        names: of the queries; default: all names of the results, so that lost queries are not counted.

    Raises:
        InputError: a file cannot be read, or the reference lacks a query.
    """
    found = read_results(results)
    names = sorted(found) if names is None else names
    truth, _ = read_poses(reference, names)
    missing = next((name for name in names if name not in truth), None)
    if missing is not None:
        raise InputError(
            f"{reference} has no pose of the query {missing}; give the reference of these queries.", path=reference
        )
    return compare_poses(found, truth)


def compare_poses(
    found: Mapping[str, Float64[np.ndarray, "3 4"]], truth: Mapping[str, Float64[np.ndarray, "3 4"]]
) -> LocalizationErrors:
    """Compare poses (camera from world) by name; every name of `truth` counts.

    Raises:
        InputError: the reference is empty.
    """
    if not truth:
        raise InputError("There is no reference pose to compare with; give poses of the queries.")
    translation = {
        name: float(np.linalg.norm(centres(found[name]) - centres(pose))) if name in found else float("inf")
        for name, pose in truth.items()
    }
    rotation = {
        name: float(rotation_angle(found[name][:, :3] @ pose[:, :3].T)) if name in found else 180.0
        for name, pose in truth.items()
    }
    distances, angles = np.array(list(translation.values())), np.array(list(rotation.values()))
    thresholds = sorted({*HLOC_THRESHOLDS, *DUST3R_THRESHOLDS, *OUR_THRESHOLDS})
    return LocalizationErrors(
        num_queries=len(truth),
        num_localized=sum(name in found for name in truth),
        median_translation=_median(distances),
        median_rotation=_median(angles),
        recall={
            (distance, angle): 100.0 * float(np.mean((distances < distance) & (angles < angle)))
            for distance, angle in thresholds
        },
        translation=translation,
        rotation=rotation,
    )


def read_results(path: Path) -> dict[str, Float64[np.ndarray, "3 4"]]:
    """Read a results file of hloc.

    Raises:
        InputError: the file cannot be read, or a line is not a name and seven numbers: the sentence names it.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a results file; check the path.", path=path) from error
    poses: dict[str, Float64[np.ndarray, "3 4"]] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        try:
            w, x, y, z, *translation = (float(word) for word in words[1:])
            rotation = Rotation.from_quat([x, y, z, w]).as_matrix()
            if len(translation) != 3 or not np.isfinite([w, x, y, z, *translation]).all():
                raise ValueError
        except ValueError as error:
            raise InputError(
                f"{path}, line {number}: it does not read name qw qx qy qz tx ty tz.", path=path
            ) from error
        if words[0] in poses:
            raise InputError(
                f"{path}, line {number}: {words[0]} has a pose already; each query is written once.", path=path
            )
        poses[words[0]] = np.column_stack([rotation, translation]).astype(np.float64)
    return poses


def _median(values: Float64[np.ndarray, " n"]) -> float:
    """The median that needs no arithmetic with infinity: with an even count, the mean of two finite middle values."""
    low, high = (float(np.percentile(values, 50, method=method)) for method in ("lower", "higher"))
    return (low + high) / 2 if np.isfinite(high) else high
