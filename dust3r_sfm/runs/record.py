"""run.json: what a run was asked for, what it has done, and what it came to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dust3r_sfm.errors import OutputError
from dust3r_sfm.system.digest import digest, digest_of
from dust3r_sfm.system.kinds import require_kinds
from dust3r_sfm.system.text import read_json
from dust3r_sfm.types import ImageSet


@dataclass(kw_only=True)
class StageRecord:
    """One stage.

    Attributes:
        inputs: the JSON values that its result depends on.
        done: whether it finished.
        seconds: wall time that it took.
    """

    inputs: dict[str, Any]
    done: bool = False
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """Which photographs a run works on.

    Attributes:
        root: their folder.
        used: their names.
        dropped: {name: reason} of those that cannot be used.
        bytes: {name: size of the file} of those that are used; empty in records of version 0.1.
        digests: {name: check sum of the file}; empty in records of versions that compared sizes.
    """

    root: str
    used: list[str]
    dropped: dict[str, str]
    bytes: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(images: ImageSet) -> "Photographs":
        """Those of a set as it was read."""
        return Photographs(
            root=str(images.root.resolve()),
            used=list(images.names),
            dropped={dropped.name: dropped.reason for dropped in images.dropped},
            bytes={view.name: view.path.stat().st_size for view in images.views},
            digests={view.name: digest(view.path) for view in images.views},
        )


def photographs_digest(images: ImageSet) -> dict[str, str | None]:
    """Check sums of photographs and of their masks, with their names, under the keys `photographs` and `masks`."""
    masks = [[view.name, digest(view.mask)] for view in images.views if view.mask is not None]
    return {
        "photographs": digest_of([[view.name, digest(view.path)] for view in images.views]),
        "masks": digest_of(masks) if masks else None,
    }


@dataclass(kw_only=True)
class Facts:
    """What a stage found out about the photographs and the model; None where that is another stage's to say.

    Attributes:
        warnings: sentences about photographs and pairs.
        evidence: what the pairs came to, see `predictors.classical.evidence`; of the embedded predictor alone.
        diagnosis: of the aligned pairs, see `alignment.diagnosis`.
        refinement: what refining the cameras came to, in a sentence.
        findings: sentences about views that patch-match stereo would skip or that see too little.
        num_points: points that were added to an old model.
        left_out: {name: reason} of the photographs that are in no model.
        apart: the models beside the largest: folder, photographs, and why they are not part of it.
        world: the frame of the largest model, and by how much it misses what is measured, see `runs.world`.
    """

    warnings: list[str] | None = None
    evidence: dict[str, Any] | None = None
    diagnosis: dict[str, Any] | None = None
    refinement: str | None = None
    findings: list[str] | None = None
    num_points: int | None = None
    left_out: dict[str, str] | None = None
    apart: list[dict[str, Any]] | None = None
    world: dict[str, Any] | None = None


@dataclass(kw_only=True)
class RunRecord(Facts):
    """The content of run.json, what its stages found out included; the file leaves out what is None, not known yet.

    Attributes:
        stages: the stages so far, by name.
        versions: of this package, of Python and of the libraries that results depend on.
        predictor: name, licence, and where the weights come from.
        matcher: name and licence of the learned matcher, and the checksums of its weights; None: SIFT alone.
        options: all options of the run.
        extends: the model that the photographs were added to.
        refines: the file or folder of the cameras that the run started from.
        photographs: which photographs.
        facts: the figures of the model, see `verdict.facts`.
        verdict: how far it is to be believed: `level`, `reasons`, `weight` of the first.
        summary: the closing lines, field by field.
    """

    stages: dict[str, StageRecord] = field(default_factory=dict)
    versions: dict[str, str] | None = None
    predictor: dict[str, Any] | None = None
    matcher: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    extends: str | None = None
    refines: str | None = None
    photographs: Photographs | None = None
    facts: dict[str, Any] | None = None
    verdict: dict[str, Any] | None = None
    summary: dict[str, Any] | None = None

    def note(self, facts: Facts) -> None:
        """Take over what a stage found out."""
        for name, value in vars(facts).items():
            if value is not None:
                setattr(self, name, value)

    def as_json(self) -> dict[str, Any]:
        """The JSON object, without what is not known yet."""
        stages = {name: _without_none(asdict(stage)) for name, stage in self.stages.items()}
        return {"stages": stages, **_without_none(asdict(self) | {"stages": None})}

    @staticmethod
    def of_json(content: Mapping[str, Any]) -> "RunRecord":
        """Read the JSON object; keys of other versions are passed over.

        Raises:
            TypeError, AttributeError: it is no record of a run.
        """
        given = _known(RunRecord, content)
        stages = given.get("stages", {})
        given["stages"] = {name: StageRecord(**_known(StageRecord, stage)) for name, stage in stages.items()}
        if given.get("photographs") is not None:
            given["photographs"] = Photographs(**_known(Photographs, given["photographs"]))
        record = RunRecord(**given)
        for part in (record, *record.stages.values(), *([record.photographs] if record.photographs else [])):
            require_kinds(part)
        return record


def read_record(path: Path, file_name: str = "run.json") -> RunRecord:
    """Read OUT/run.json, or a shard's record; an empty one where there is none.

    Raises:
        OutputError: the file is damaged.
    """
    file = path / file_name
    if not file.is_file():
        return RunRecord()
    try:
        return RunRecord.of_json(read_json(file))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{file} is damaged; remove it together with the rest of the folder and run again.", path=file
        ) from error


def _without_none(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value is not None}


def _known(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    names = {item.name for item in fields(kind)}
    return {name: value for name, value in content.items() if name in names}
