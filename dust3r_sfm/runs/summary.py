"""What a run came to: the closing lines of the command, and the same in run.json."""

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dust3r_sfm.colmap.model import read_model
from dust3r_sfm.errors import ReconstructionError
from dust3r_sfm.features.features import read_features
from dust3r_sfm.features.matcher import AUTO, BEST
from dust3r_sfm.images.priors.panorama import LOOK_LIKE
from dust3r_sfm.runs.folder import RunFolder
from dust3r_sfm.runs.models import NOT_CONNECTED
from dust3r_sfm.runs.next_steps import next_steps
from dust3r_sfm.runs.record import RunRecord
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.types import ImageSet, Scene
from dust3r_sfm.verdict import GOOD, ModelFacts, Verdict, judge, measure

logger = logging.getLogger("dust3r_sfm")

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
        verdict: how far the model is to be believed, and why.
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
    verdict: Verdict = GOOD

    def __str__(self) -> str:
        """The closing lines of the command, with the next commands to type."""
        total = len(self.registered) + len(self.dropped) + sum(len(one["photographs"]) for one in self.apart)
        focal = f"{np.median(self.focals):.1f} px" if self.focals else "none"
        if len(self.focals) > 1 and max(self.focals) > 1.001 * min(self.focals):
            focal = f"{min(self.focals):.1f} to {max(self.focals):.1f} px ({len(self.focals)} cameras)"
        first, *others = self.verdict.reasons or ("",)
        lines = [
            f"verdict             {self.verdict.level}{': ' if first else ''}{first}",
            *(f"                    {reason}" for reason in others),
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


def require_trust(summary: Summary, strict: bool) -> None:
    """Raise where the user wants no model that is likely to be wrong; what needs a look alone does not count.

    Raises:
        ReconstructionError: the model is doubtful; the summary is logged, and all files are there.
    """
    if strict and summary.verdict.level == "doubtful":
        logger.info("%s", summary)
        model = summary.out / "sparse" / "0"
        raise ReconstructionError(f"The model {model} is doubtful: {summary.verdict.reasons[0]}", path=model)


def _measured(run: RunFolder, images: ImageSet, scene: Scene, model: Reconstruction) -> ModelFacts:
    """The figures that the verdict follows from."""
    record = run.record
    options = record.options or {}
    given = (options.get("refine") or {}).get("features")
    file = run.path / "features.h5"
    # Features of the user need not have descriptors, and may be gone.
    features = read_features(file, scene.views) if given is None and file.is_file() else []
    facts = measure(model, scene, features, int((options.get("run") or {}).get("seed", 0)))
    positions = (record.world or {}).get("positions") or ()
    return replace(
        facts,
        num_given=len(images) + len(images.dropped),
        num_apart=sum(len(one["photographs"]) for one in record.apart or ()),
        num_turned_pairs=int((record.evidence or {}).get("num_turned", 0)),
        num_positions=len(positions),
        num_wrong_positions=sum(bool(one["wrong"]) for one in positions),
        panoramas=any(LOOK_LIKE in sentence for sentence in images.warnings),
    )


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
    facts = _measured(run, images, scene, reconstruction)
    verdict = judge(facts)
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
        verdict=verdict,
    )
    record.summary = asdict(summary)
    record.facts, record.verdict = facts.as_json(), verdict.as_json()
    run.save()
    return summary
