"""Camera poses against reference cameras: RRA, RTA, AUC, ATE and focal length, as the pose literature counts them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.colmap.model import Reconstruction, read_model
from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.procrustes import similarity
from dust3r_sfm.geometry.transforms import apply, centres, compose, invert, rotation_angle
from dust3r_sfm.images.foreign.read import cameras_of_json
from dust3r_sfm.types import KnownCamera

_ACCURACY_DEGREES = (1, 2, 5, 15)
_AUC_DEGREES = (1, 3, 5, 10, 30)
"""What accuracy and area under its curve are given at: those of the tables that we compare with."""


@dataclass(frozen=True, kw_only=True)
class PoseErrors:
    """Pose accuracy of a model over ALL pairs of the reference's images; a pair with an unplaced image counts as 180°.

    Attributes:
        num_images: images of the reference.
        num_registered: those that the model places.
        rra: share of pairs, in percent, whose relative rotation is within each threshold (degrees).
        rta: the same for the direction of the relative translation (signed, 0 to 180 degrees).
        auc: area under the curve of max(rotation, translation) error up to each threshold, in percent, without bins.
        median_rotation, median_translation: medians over pairs, degrees.
        ate: root mean square distance of camera centres after a similarity fit, over the largest distance between two
            reference centres; None below three common images.
        focal_error: median |f / f_reference - 1|, both over the image width; None when the reference has no cameras.
        num_points, mean_track_length, mean_reprojection_error: of the model; the last two None without points.
    """

    num_images: int
    num_registered: int
    rra: Mapping[int, float]
    rta: Mapping[int, float]
    auc: Mapping[int, float]
    median_rotation: float
    median_translation: float
    ate: float | None
    focal_error: float | None
    num_points: int
    mean_track_length: float | None
    mean_reprojection_error: float | None

    def rows(self) -> dict[str, int | float | None]:
        """Names and values for a table, a JSON file or the terminal."""
        return {
            "images": self.num_images,
            "registered": self.num_registered,
            **{f"RRA@{threshold}": value for threshold, value in self.rra.items()},
            **{f"RTA@{threshold}": value for threshold, value in self.rta.items()},
            **{f"AUC@{threshold}": value for threshold, value in self.auc.items()},
            "median_rotation_deg": self.median_rotation,
            "median_translation_deg": self.median_translation,
            "ATE": self.ate,
            "focal_error": self.focal_error,
            "points3D": self.num_points,
            "mean_track_length": self.mean_track_length,
            "mean_reprojection_error": self.mean_reprojection_error,
        }

    def sentence(self) -> str:
        """The result in words: how many cameras, and how far they are off."""
        placed = f"{self.num_registered} of {self.num_images} cameras"
        if self.num_registered < 2:
            return placed
        ate = "" if self.ate is None else f" and {100 * self.ate:.2g} % of the scene's extent"
        return f"{placed}, {self.median_rotation:.2g}°{ate} off the reference"

    def __str__(self) -> str:
        """The figures as a table of names and rounded values."""
        return "\n".join(
            f"{name:24} {'none' if value is None else f'{value:.6g}'}" for name, value in self.rows().items()
        )


@dataclass(frozen=True, kw_only=True)
class _Cameras:
    """Poses by image name, and focal lengths over image widths (NaN where unknown)."""

    names: tuple[str, ...]
    cam_from_world: Float64[np.ndarray, "n 3 4"]
    focals: Float64[np.ndarray, " n"]


def evaluate_poses(model: Path | Reconstruction, reference: Path) -> PoseErrors:
    """Compare the cameras of a model with reference cameras of the same image names.

    Args:
        model: folder of a COLMAP model, or a `pycolmap.Reconstruction`.
        reference: a poses.json ({image: {qvec_cam_from_world [w, x, y, z], tvec, camera}}), a transforms.json, or the
            folder of a COLMAP model.

    Raises:
        InputError: when a model or the reference cannot be read, the reference has fewer than two images, or the model
            has none of its names.
    """
    reconstruction = read_model(model) if isinstance(model, Path) else model
    matched = matched_poses(reconstruction, reference)
    rotation, translation = _pair_errors(matched.truth, matched.found, matched.placed)
    joint = np.maximum(rotation, translation)
    placed = matched.placed
    num_points = reconstruction.num_points3D()
    return PoseErrors(
        num_images=len(placed),
        num_registered=int(placed.sum()),
        rra={threshold: 100.0 * float((rotation <= threshold).mean()) for threshold in _ACCURACY_DEGREES},
        rta={threshold: 100.0 * float((translation <= threshold).mean()) for threshold in _ACCURACY_DEGREES},
        auc={threshold: 100.0 * float(np.clip(1 - joint / threshold, 0, 1).mean()) for threshold in _AUC_DEGREES},
        median_rotation=float(np.median(rotation)),
        median_translation=float(np.median(translation)),
        ate=_trajectory_error(centres(matched.truth), centres(matched.found), placed),
        focal_error=_focal_error(matched.true_focals[placed], matched.found_focals[placed]),
        num_points=num_points,
        mean_track_length=reconstruction.compute_mean_track_length() if num_points else None,
        mean_reprojection_error=reconstruction.compute_mean_reprojection_error() if num_points else None,
    )


@dataclass(frozen=True, kw_only=True)
class MatchedPoses:
    """The images of a reference, and what a model says of them; without meaning where it does not place one.

    Attributes:
        truth, found: camera from world of the reference and of the model.
        true_focals, found_focals: over the image width; NaN where unknown.
        placed: images that the model places.
    """

    truth: Float64[np.ndarray, "n 3 4"]
    found: Float64[np.ndarray, "n 3 4"]
    true_focals: Float64[np.ndarray, " n"]
    found_focals: Float64[np.ndarray, " n"]
    placed: Bool[np.ndarray, " n"]


def matched_poses(model: Path | Reconstruction, reference: Path) -> MatchedPoses:
    """Read a model and a reference, and put their images beside each other by name; see `evaluate_poses`."""
    found = _from_model(read_model(model) if isinstance(model, Path) else model)
    if not reference.exists():
        raise InputError(f"There is no {reference}; check the path.", path=reference)
    truth = _from_model(read_model(reference)) if reference.is_dir() else _from_json(reference)
    if len(truth.names) < 2:
        raise InputError(
            f"{reference} has fewer than two cameras; give the reference of the whole photo set.", path=reference
        )
    rows = _rows(found.names, truth.names)
    if not (rows >= 0).any():
        example = f"'{found.names[0]}'" if found.names else "no image"
        raise InputError(
            f"The model has none of the names in {reference} (it has {example}, not '{truth.names[0]}'); give the "
            "reference of these photographs, by these names.",
            path=reference,
        )
    return MatchedPoses(
        truth=truth.cam_from_world,
        found=found.cam_from_world[rows],
        true_focals=truth.focals,
        found_focals=found.focals[rows],
        placed=rows >= 0,
    )


def _rows(found: Sequence[str], wanted: Sequence[str]) -> Int64[np.ndarray, " n"]:
    """Where each wanted name stands among others, -1 where it does not; without folders, if no name has its own."""
    row_of = {name: row for row, name in enumerate(found)}
    if not any(name in row_of for name in wanted):
        files = [[PurePosixPath(name).name for name in names] for names in (found, wanted)]
        if all(len(set(names)) == len(names) for names in files):
            row_of, wanted = {name: row for row, name in enumerate(files[0])}, files[1]
    return np.array([row_of.get(name, -1) for name in wanted], np.int64)


def _from_model(reconstruction: Reconstruction) -> _Cameras:
    images = sorted((image for image in reconstruction.images.values() if image.has_pose), key=lambda image: image.name)
    return _Cameras(
        names=tuple(image.name for image in images),
        cam_from_world=np.array([image.cam_from_world().matrix() for image in images]).reshape(-1, 3, 4),
        focals=np.array([image.camera.mean_focal_length() / image.camera.width for image in images]),
    )


def _from_json(path: Path) -> _Cameras:
    cameras = cameras_of_json(path)
    names = sorted(cameras)
    return _Cameras(
        names=tuple(names),
        cam_from_world=np.array([cameras[name].cam_from_world for name in names]).reshape(-1, 3, 4),
        focals=np.array([_focal(cameras[name].camera) for name in names], dtype=float),
    )


def _focal(camera: KnownCamera | None) -> float:
    """Over the image width; NaN where it is unknown."""
    return camera.params[0] / camera.size[0] if camera is not None and camera.size[0] else float("nan")


def _pair_errors(
    truth: Float64[np.ndarray, "n 3 4"], found: Float64[np.ndarray, "n 3 4"], placed: Bool[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    """Errors of relative rotation and of the direction of relative translation of all pairs, degrees."""
    first, second = np.triu_indices(len(truth), k=1)
    return relative_errors(relative_poses(truth), relative_poses(found), placed[first] & placed[second])


def relative_poses(cam_from_world: Float64[np.ndarray, "n 3 4"]) -> Float64[np.ndarray, "p 3 4"]:
    """Camera 2 from camera 1 of all pairs, in the order of `np.triu_indices`."""
    first, second = np.triu_indices(len(cam_from_world), k=1)
    return compose(cam_from_world[second], invert(cam_from_world[first]))


def relative_errors(
    truth: Float64[np.ndarray, "p 3 4"], found: Float64[np.ndarray, "p 3 4"], placed: Bool[np.ndarray, " p"]
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    """Compare relative poses (camera 2 from camera 1).

    Args:
        truth: the true ones; the length of a translation does not count.
        found: those to judge, in any scale.
        placed: pairs that have a pose; the others count as 180 degrees.

    Returns:
        Errors of the rotation and of the (signed) direction of the translation, degrees.
    """
    rotation = rotation_angle(found[:, :, :3] @ np.swapaxes(truth[:, :, :3], 1, 2))
    true_direction, found_direction = truth[:, :, 3], found[:, :, 3]
    lengths = np.linalg.norm(true_direction, axis=1) * np.linalg.norm(found_direction, axis=1)
    cosine = np.sum(true_direction * found_direction, axis=1) / np.maximum(lengths, 1e-12)
    translation = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return np.where(placed, rotation, 180.0), np.where(placed, translation, 180.0)


def _trajectory_error(
    truth: Float64[np.ndarray, "n 3"], found: Float64[np.ndarray, "n 3"], placed: np.ndarray
) -> float | None:
    if placed.sum() < 3:
        return None
    extent = np.linalg.norm(truth[:, None] - truth[None], axis=-1).max()
    if extent == 0:  # turned on the spot: there is no trajectory
        return None
    fitted = apply(similarity(found[placed], truth[placed]), found[placed])
    return float(np.sqrt(np.mean(np.sum((fitted - truth[placed]) ** 2, axis=1))) / extent)


def _focal_error(truth: Float64[np.ndarray, " k"], found: Float64[np.ndarray, " k"]) -> float | None:
    ratios = np.abs(found / truth - 1.0)
    ratios = ratios[np.isfinite(ratios)]
    return float(np.median(ratios)) if len(ratios) else None
