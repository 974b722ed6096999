"""Two photographs without a model: the pose of one camera relative to the other, by every method that applies.

The folder OUT, where one is given, holds pose.json and matches.png: both photographs side by side with their matches.
"""

from dataclasses import dataclass
from io import BytesIO
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from PIL import Image

from dust3r_sfm.alignment.samples import principal_points
from dust3r_sfm.errors import InputError, OutputError, ReconstructionError
from dust3r_sfm.geometry.pinhole import intrinsics, pixel_scale
from dust3r_sfm.geometry.transforms import rotation_angle
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.matching.methods import MethodPose, TwoViews, direction
from dust3r_sfm.matching.pair import match_pair
from dust3r_sfm.matching.picture import matches_picture
from dust3r_sfm.options import ImageOptions, MatchOptions, PredictorOptions, RunOptions
from dust3r_sfm.predictors.predictor import PairPredictor, check_predictor, load_predictor
from dust3r_sfm.single import own_geometry
from dust3r_sfm.system.files import atomic_path, write_json
from dust3r_sfm.system.progress import Progress, Silent
from dust3r_sfm.system.ranges import require_ranges
from dust3r_sfm.types import ImageSet, Matches, PairGraph, PairPrediction, View, is_known

FORMAT = "dust3r_sfm pose 1"

_MIN_SIDE_RAW_PX = 64
"""Shorter side of a photograph, raw pixels; smaller ones hold too few keypoints. Chosen by hand."""

_MIN_INLIERS = 15
"""Fewer matches that agree with a pose may do so by chance (COLMAP's default)."""


@dataclass(frozen=True, kw_only=True)
class PairPose:
    """What is known of two photographs.

    Attributes:
        photo1, photo2: the files.
        poses: what each method found, the recommended one first; a method that found nothing is left out.
        reason: why the first is recommended, one sentence.
        focal1, focal2: focal lengths in raw original pixels.
        matches: of the pair, in raw original pixels.
        inlier: which matches agree with the recommended pose (m,).
        is_metric: the translations of procrustes and pnp are in metres.
        predictor: name and licence of the predictor.
        out: folder of pose.json and matches.png, or None.
    """

    photo1: Path
    photo2: Path
    poses: tuple[MethodPose, ...]
    reason: str
    focal1: float
    focal2: float
    matches: Matches
    inlier: Bool[np.ndarray, " m"]
    is_metric: bool
    predictor: str
    out: Path | None = None

    @property
    def cam2_from_cam1(self) -> Float64[np.ndarray, "3 4"]:
        """The recommended pose (3, 4)."""
        return self.poses[0].cam2_from_cam1

    @property
    def cam1_from_cam2(self) -> Float64[np.ndarray, "3 4"]:
        """The recommended pose, the way back (3, 4)."""
        return self.poses[0].cam1_from_cam2

    @property
    def num_inliers(self) -> int:
        """Matches that agree with the recommended pose."""
        return int(self.inlier.sum())

    def __str__(self) -> str:
        """The closing lines of the command."""
        best = self.poses[0]
        unit = "metres" if self.is_metric and best.method != "epipolar" else "no unit: two photographs have no scale"
        lines = [
            f"photographs         {self.photo1}, {self.photo2}",
            f"focal length        {self.focal1:.1f} px, {self.focal2:.1f} px",
            f"matches             {len(self.inlier)}, {self.num_inliers} agree with the recommended pose",
            *(f"{pose.method:<20}{pose}" for pose in self.poses),
            *_spread_of(self.poses),
            f"recommended         {best.method}: {self.reason}",
            *_rows("cam2_from_cam1", best.cam2_from_cam1),
            *_rows("cam1_from_cam2", best.cam1_from_cam2),
            f"translation         {unit}",
            f"predictor           {self.predictor}",
        ]
        if self.out is not None:
            lines.append(f"written             {self.out / 'pose.json'}, {self.out / 'matches.png'}")
        return "\n".join(lines)


def relative_pose(
    photo1: Path,
    photo2: Path,
    out: Path | None = None,
    predictor: PredictorOptions | None = None,
    run: RunOptions | None = None,
    progress: Progress | None = None,
) -> PairPose:
    """Find the pose of the second photograph's camera relative to the first one's, and both focal lengths.

    Args:
        photo1, photo2: the files, anywhere.
        out: folder for pose.json and matches.png; nothing is written without.
        predictor: which predictor; both directions of the pair are predicted.
        run: seed, overwrite.
        progress: shows the stages; silent by default.

    Raises:
        InputError: a photograph cannot be used, or both are one.
        OutputError: the folder holds something else, is not writable, or the disk is full.
        PredictorError: the weights cannot be used.
        ReconstructionError: the photographs share too little, or were taken from one place.
    """
    predictor, run, progress = predictor or PredictorOptions(), run or RunOptions(), progress or Silent()
    require_ranges(predictor, run)
    if out is not None:
        _require_free(out, run.overwrite)
    loaded = load_predictor(predictor, run.seed)
    facts = check_predictor(loaded)
    with progress.stage("images"):
        images, first, second = _read_two(photo1, photo2, loaded.grid)
    with progress.stage("predict"):
        pair = _predict(loaded, images, first, second)
    with progress.stage("pose"):
        result = None if pair is None else _solve((photo1, photo2), pair, loaded, run.seed, out)
        if pair is not None and result is not None and out is not None:
            _write(result, out, pair, facts)
    if result is None:
        raise ReconstructionError(
            f"{photo1} and {photo2} share too little, or were taken from one place, so that their relative pose is not "
            "known; choose two photographs of one thing from two places.",
            path=photo1,
        )
    return result


def _read_two(photo1: Path, photo2: Path, grid: Grid) -> tuple[ImageSet, int, int]:
    """Read two files as one set, and say which is which.

    Raises:
        InputError: see `relative_pose`.
    """
    for photo in (photo1, photo2):
        if not photo.is_file():
            raise InputError(f"There is no photograph {photo}; check the path.")
    if photo1.samefile(photo2):
        raise InputError(f"{photo1} and {photo2} are one file; a relative pose needs two photographs.", path=photo1)
    paths = [photo.resolve() for photo in (photo1, photo2)]
    root = Path(commonpath([path.parent for path in paths]))
    names = [path.relative_to(root).as_posix() for path in paths]
    images = read_images(root, ImageOptions(strict=True), grid, names)
    if len(images) < 2:
        raise InputError(
            f"{photo1} and {photo2} have the same bytes; a relative pose needs two photographs.", path=photo1
        )
    for view in images.views:
        if min(view.size) < _MIN_SIDE_RAW_PX:
            raise InputError(
                f"{view.path} has only {view.size[0]} × {view.size[1]} pixels; both sides need {_MIN_SIDE_RAW_PX}."
            )
    first, second = (images.names.index(name) for name in names)
    return images, first, second


def _predict(predictor: PairPredictor, images: ImageSet, first: int, second: int) -> TwoViews | None:
    """Predict both directions of the pair; None where nothing is known of one of them."""
    predictor.prepare(images, PairGraph(num_images=2, edges=np.array([[0, 1]]), weights=np.ones(1)))
    features = dict(enumerate(predictor.encode(images.views)))
    predictions = dict(predictor.predict(features, [(first, second), (second, first)]))
    forward, backward = predictions[first, second], predictions[second, first]
    if not (is_known(forward.confidence1).any() and is_known(backward.confidence1).any()):
        return None
    view1, view2 = images.views[first], images.views[second]
    matrices = _matrix(forward, view1), _matrix(backward, view2)
    return TwoViews(view1=view1, view2=view2, forward=forward, backward=backward, matrices=matrices)


def _solve(
    photos: tuple[Path, Path], pair: TwoViews, predictor: PairPredictor, seed: int, out: Path | None
) -> PairPose | None:
    """Match the pair and ask every method; None where too few matches agree with any."""
    matches = match_pair(pair.forward, pair.backward, (pair.view1, pair.view2), (0, 1), MatchOptions())
    poses = pair.poses(matches, seed)
    if not poses:
        return None
    best = next(iter(poses))
    inlier = pair.agreeing(matches, poses[best])
    if inlier.sum() < _MIN_INLIERS:
        return None
    preferred, reason = pair.preference
    return PairPose(
        photo1=photos[0],
        photo2=photos[1],
        poses=pair.of_raw_cameras(poses),
        reason=reason if best == preferred else f"{preferred} found nothing.",
        focal1=float(pair.matrices[0][0, 0]) / pixel_scale(pair.view1.network_from_image),
        focal2=float(pair.matrices[1][0, 0]) / pixel_scale(pair.view2.network_from_image),
        matches=matches,
        inlier=inlier,
        is_metric=bool(getattr(predictor, "is_metric", False)),
        predictor=f"{predictor.name} ({predictor.licence})",
        out=out,
    )


def _matrix(prediction: PairPrediction, view: View) -> Float64[np.ndarray, "3 3"]:
    """Pinhole matrix of the first photograph of a prediction, network pixels, about the photograph's centre."""
    x, y = principal_points(ImageSet(root=view.path.parent, views=(view,)))[0].tolist()
    return intrinsics(own_geometry(prediction, view).focal, view.network_size, (x, y))


def _spread_of(poses: tuple[MethodPose, ...]) -> list[str]:
    """By how much the methods differ from the recommended one: one line, none for one method."""
    if len(poses) < 2:
        return []
    best, *others = poses
    rotations = [float(rotation_angle(pose.cam2_from_cam1[:, :3] @ best.cam2_from_cam1[:, :3].T)) for pose in others]
    cosines = [float(direction(pose.cam2_from_cam1) @ direction(best.cam2_from_cam1)) for pose in others]
    turned = float(np.degrees(np.arccos(np.clip(min(cosines), -1.0, 1.0))))
    return [f"methods differ      up to {max(rotations):.2f}° in rotation, {turned:.2f}° in translation"]


def _rows(name: str, transform: Float64[np.ndarray, "3 4"]) -> list[str]:
    """A transform as three lines."""
    return [
        f"{name if row == 0 else '':<20}" + " ".join(f"{value:9.5f}" for value in values)
        for row, values in enumerate(transform.tolist())
    ]


def _require_free(out: Path, overwrite: bool) -> None:
    """
    Raises:
        OutputError: the folder is a file, or holds something else and `overwrite` is off.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; the third argument is the output folder.", path=out)
    if overwrite or not out.is_dir() or not any(out.iterdir()):
        return
    if (out / "pose.json").is_file():
        raise OutputError(f"{out} holds a pose already; choose another folder or add --overwrite.", path=out)
    raise OutputError(f"{out} is not empty and holds no pose of this program; choose another folder.", path=out)


def _write(result: PairPose, out: Path, pair: TwoViews, predictor: dict[str, Any]) -> None:
    """Write pose.json and matches.png."""
    content = BytesIO()
    Image.fromarray(matches_picture(pair.view1, pair.view2, result.matches, result.inlier)).save(content, format="PNG")
    with atomic_path(out / "matches.png") as temporary:
        temporary.write_bytes(content.getbuffer())
    write_json(
        out / "pose.json",
        {
            "format": FORMAT,
            "predictor": predictor,
            "photographs": [
                {"path": str(view.path), "size": list(view.size), "focal": focal}
                for view, focal in ((pair.view1, result.focal1), (pair.view2, result.focal2))
            ],
            "unit": "metres" if result.is_metric else None,
            "recommended": result.poses[0].method,
            "reason": result.reason,
            "poses": {
                pose.method: {
                    "cam2_from_cam1": pose.cam2_from_cam1.tolist(),
                    "cam1_from_cam2": pose.cam1_from_cam2.tolist(),
                    "num_inliers": pose.num_inliers,
                    "num_correspondences": pose.num_correspondences,
                }
                for pose in result.poses
            },
            "matches": [
                {"xy1": xy1, "xy2": xy2, "agrees": agrees}
                for xy1, xy2, agrees in zip(
                    result.matches.xy1.tolist(),
                    result.matches.xy2.tolist(),
                    result.inlier.tolist(),
                    strict=True,
                )
            ],
        },
    )
