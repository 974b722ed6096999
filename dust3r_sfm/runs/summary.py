"""What a run came to: the closing lines of the command, and the same in run.json."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dust3r_sfm.colmap.model import read_model
from dust3r_sfm.features.matcher import AUTO, BEST
from dust3r_sfm.runs.folder import RunFolder
from dust3r_sfm.runs.models import NOT_CONNECTED
from dust3r_sfm.runs.next_steps import next_steps
from dust3r_sfm.runs.record import RunRecord
from dust3r_sfm.types import ImageSet, Scene

_NO_POINTS = (
    "the model has no points, and multi-view stereo starts from them; photographs from places further apart, or a "
    "smaller --min-triangulation-angle, give some."
)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run came to.

    Attributes:
        out: the output folder.
        registered: names of the images in the model, sparse/0.
        dropped: {name: reason} of the photographs that are in no model.
        focals: focal length in original pixels of each camera.
        num_points: points in the model.
        mean_track_length: images that see a point, on average.
        mean_reprojection_error: in original pixels.
        seconds: wall time of each stage, those of an earlier run included.
        warnings: sentences about weak images, pairs and views.
        predictor: name and licence of the predictor.
        matcher: which matchers had a say.
        refinement: what refining the cameras came to.
        frame: which way the axes of the model point, its unit, and how well it fits what is measured.
        apart: the models beside it: folder, photographs, and why they are not part of it.
    """

    out: Path
    registered: tuple[str, ...]
    dropped: dict[str, str]
    focals: tuple[float, ...]
    num_points: int
    mean_track_length: float
    mean_reprojection_error: float
    seconds: dict[str, float]
    warnings: tuple[str, ...]
    predictor: str
    matcher: str
    refinement: str
    frame: str = ""
    apart: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        """The closing lines of the command, with the next commands to type."""
        total = len(self.registered) + len(self.dropped) + sum(len(one["photographs"]) for one in self.apart)
        focal = f"{np.median(self.focals):.1f} px" if self.focals else "none"
        if len(self.focals) > 1 and max(self.focals) > 1.001 * min(self.focals):
            focal = f"{min(self.focals):.1f} to {max(self.focals):.1f} px ({len(self.focals)} cameras)"
        lines = [
            f"registered          {len(self.registered)} of {total} photographs",
            f"focal length        {focal}",
            f"points              {self.num_points}, seen by {self.mean_track_length:.2f} images on average",
            f"reprojection error  {self.mean_reprojection_error:.2f} px",
            f"refinement          {self.refinement}",
            *([f"frame               {self.frame}"] if self.frame else []),
            f"predictor           {self.predictor}",
            f"matcher             {self.matcher}",
            "seconds             " + ", ".join(f"{name} {value:.1f}" for name, value in self.seconds.items()),
        ]
        for one in self.apart:
            count = len(one["photographs"])
            lines.append(f"another model       {self.out / one['model']}, {count} photographs, {one['reason']}")
        lines += [f"left out            {name}: {reason}" for name, reason in self.dropped.items()]
        lines += [f"warning             {sentence}" for sentence in self.warnings]
        if len(self.registered) > 1 and not self.num_points:
            lines.append(f"warning             {_NO_POINTS}")
        lines += [
            f"model               {self.out / 'sparse' / '0'}",
            f"report              {self.out / 'report.html'}",
        ]
        if len(self.registered) > 1 and self.num_points:
            lines += next_steps(self.out)
        return "\n".join(lines)


def _matcher(record: RunRecord) -> str:
    """Which matchers had a say, or how to get one that joins what SIFT cannot."""
    if (matcher := record.matcher) is not None:
        return f"SIFT; {matcher['name']} ({matcher['licence']}) where it decides nothing"
    if record.refines is not None or (record.options or {}).get("predict", {}).get("matcher", AUTO) != AUTO:
        return "SIFT"
    return f"SIFT alone; wide baselines and other seasons need learned matches: dust3r-sfm features get {BEST}"


def summarize(run: RunFolder, images: ImageSet, scene: Scene) -> Summary:
    """Read the model of a finished run, and record the summary in run.json."""
    record, predictor = run.record, run.record.predictor or {}
    reconstruction = read_model(run.path / "sparse" / "0")
    placed, apart = {image.name for image in reconstruction.images.values()}, record.apart or ()
    registered = tuple(name for name in scene.names if name in placed)
    elsewhere = {name for one in apart for name in one["photographs"]}
    missing = [name for name in scene.names if name not in placed and name not in elsewhere]
    dropped = {dropped.name: dropped.reason for dropped in images.dropped}
    dropped |= {name: (record.left_out or {}).get(name, NOT_CONNECTED) for name in missing}
    summary = Summary(
        out=run.path,
        registered=registered,
        dropped=dropped,
        focals=tuple(camera.mean_focal_length() for _, camera in sorted(reconstruction.cameras.items())),
        num_points=reconstruction.num_points3D(),
        mean_track_length=reconstruction.compute_mean_track_length(),
        mean_reprojection_error=reconstruction.compute_mean_reprojection_error(),
        seconds={name: stage.seconds for name, stage in record.stages.items() if stage.seconds is not None},
        warnings=(*(record.warnings or ()), *scene.warnings, *(record.findings or ())),
        predictor=f"{predictor['name']} ({predictor['licence']})",
        matcher=_matcher(record),
        refinement=record.refinement or "none",
        frame=(record.world or {}).get("sentence", ""),
        apart=tuple(apart),
    )
    record.summary = asdict(summary)
    run.save()
    return summary
