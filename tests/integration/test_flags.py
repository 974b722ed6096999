"""Every flag of every verb is read by that verb, or refused by it.

The flags come from the signatures and dataclasses themselves: a flag that nothing reads fails here.
"""

import ast
import dataclasses
import shutil
import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from dust3r_sfm import options as options_module
from dust3r_sfm.cli import VERBS
from dust3r_sfm.errors import Dust3rSfmError, InputError
from dust3r_sfm.export import export
from dust3r_sfm.extend import extend
from dust3r_sfm.images.read import read_images
from dust3r_sfm.localization.inputs import _NOT_FOUND_BY, localization_inputs
from dust3r_sfm.localization.open_map import UnopenedMap
from dust3r_sfm.options import (
    ImageOptions,
    KnownOptions,
    LocalizeOptions,
    MatchOptions,
    PairOptions,
    PredictOptions,
    PredictorOptions,
    ReconstructOptions,
    RefineOptions,
    RunOptions,
)
from dust3r_sfm.predictors.predictor import load_predictor
from dust3r_sfm.reconstruct import reconstruct
from dust3r_sfm.runs.stages import CHAIN
from dust3r_sfm.synthetic.sample import sample

PACKAGE = Path(options_module.__file__).parents[1]
UNTIL = {"pairs": "pairs", "predict": "predict", "align": "align", "reconstruct": "export"}
"""Verbs that are a part of the chain, and the last stage of each."""
HOW = {"device", "num_workers", "max_encoded", "shard", "ray", "strict", "overwrite", "verbose"}
"""Flags about how the work is done, not about what comes out."""
BY_CONTENT = {"intrinsics", "poses", "gps", "control_points", "frames", "masks"}
"""Flags that count by what their file says of the photographs; see test_known.py, test_priors.py and test_video.py."""


def groups_of(verb: str) -> dict[str, type]:
    """The classes of options that a verb takes, by name."""
    found = {}
    for name, hint in get_type_hints(VERBS[verb]).items():
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            inner = {item: kind for item, kind in get_type_hints(hint).items() if dataclasses.is_dataclass(kind)}
            found.update(inner or {name: hint})
    return found


def flags_of(verb: str) -> set[str]:
    """Names of the options of a verb that come in classes."""
    return {item.name for kind in groups_of(verb).values() for item in dataclasses.fields(kind)}


def attributes(*places: str) -> set[str]:
    """Names of attributes that the files of some rooms read."""
    found = set()
    for place in places:
        for path in sorted((PACKAGE / place).rglob("*.py")) if (PACKAGE / place).is_dir() else [PACKAGE / place]:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return found


BY_THE_TERMINAL = {"verbose"}
"""Read from the words of the command line, before they become options."""
BY_PREDICTORS = attributes("predictors") & {item.name for item in dataclasses.fields(PredictorOptions)}
"""Handed to a predictor when it is made."""


@contextmanager
def noting_reads() -> Iterator[set[str]]:
    """Collect the options that are read meanwhile, but not by what merely records or compares all of them."""
    reads: set[str] = set()
    kinds = [kind for kind in vars(options_module).values() if dataclasses.is_dataclass(kind)]

    def read(self: Any, name: str) -> Any:
        code = sys._getframe(1).f_code
        bystander = code.co_name.endswith("_inputs") or Path(code.co_filename).name in ("dataclasses.py", "unread.py")
        if not bystander and not name.startswith("__"):
            reads.add(name)
        return object.__getattribute__(self, name)

    with pytest.MonkeyPatch.context() as patch:
        for kind in kinds:
            patch.setattr(kind, "__getattribute__", read, raising=False)
        yield reads


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tiny photographs, with a folder of no masks."""
    folder = tmp_path_factory.mktemp("flags") / "scene"
    sample(folder, num_views=4, size=(256, 192), seed=1)
    (folder / "masks").mkdir()
    return folder


def oracle(scene: Path, **given: Any) -> ReconstructOptions:
    weights = str(scene / "truth" / "scene.h5")
    return ReconstructOptions(predict=PredictOptions(predictor="oracle", weights=weights), **given)


def tried(*arguments: Any, **named: Any) -> None:
    """Reconstruct; what is wrong with the options is said after they are read."""
    with suppress(Dust3rSfmError):
        reconstruct(*arguments, **named)


@pytest.fixture(scope="module")
def reads(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """For each stage, the options that are read by runs up to it."""
    photos, out = scene / "images", tmp_path_factory.mktemp("reads") / "out"
    found: dict[str, set[str]] = {}
    with noting_reads() as noted:
        for strategy in ("file", "poses", "sequential", "oneref", "exhaustive"):
            pairs = PairOptions(pairs=strategy, window=2, num_retrieved=2)
            tried(photos, out.with_name(strategy), oracle(scene, pairs=pairs), until="pairs")
        found["pairs"] = set(noted)
        reconstruct(photos, out, oracle(scene), until="predict")
        found["predict"] = set(noted)
        reconstruct(photos, out, oracle(scene), until="align")
        both = oracle(scene, known=KnownOptions(georegister=True, scale_distance=("a.jpg", "b.jpg", 1.0)))
        tried(photos, out.with_name("metric"), both, until="align")
        found["align"] = set(noted)
        reconstruct(photos, out, oracle(scene))
        matches = oracle(scene, refine=RefineOptions(matches=Path("m.h5")), run=RunOptions(overwrite=True))
        tried(photos, out, matches)
        fine = oracle(scene, match=MatchOptions(fine_size=0))
        tried(photos, out.with_name("fine"), fine)
        found["export"] = set(noted)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("verb", UNTIL)
def test_the_chain_reads_every_flag(verb, reads):
    assert flags_of(verb) - reads[UNTIL[verb]] - BY_PREDICTORS - BY_THE_TERMINAL == set()


def test_a_finished_stage_is_not_taken_for_that_of_other_options(scene):
    """Each flag that changes what comes out is among the inputs of a stage of each verb that has it."""
    images = read_images(scene / "images", ImageOptions())
    default = ReconstructOptions()
    for verb, until in UNTIL.items():
        stages = CHAIN[: [stage.name for stage in CHAIN].index(until) + 1]
        groups = groups_of(verb)
        for group, kind in groups.items():
            for item in dataclasses.fields(kind):
                changed = changed_value(kind, item, getattr(getattr(default, group), item.name))
                given = dataclasses.replace(getattr(default, group), **{item.name: changed})
                options = dataclasses.replace(default, **{group: given})
                differs = any(stage.inputs(images, options) != stage.inputs(images, default) for stage in stages)
                is_needed = item.name not in HOW | BY_CONTENT
                if verb == "pairs" and group in ("predict", "run"):
                    is_needed = item.name == "predictor"  # pairs are from pixels; the others count when they are used
                assert differs or not is_needed, f"{verb} --{item.name}"


def changed_value(kind: type, item: dataclasses.Field, value: Any) -> Any:
    """Another value of the type of a field."""
    hint = get_type_hints(kind)[item.name]
    choices = [choice for part in (hint, *typing.get_args(hint)) for choice in typing.get_args(part)]
    if typing.get_origin(hint) is typing.Literal:
        return next(choice for choice in choices if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if item.name == "matcher":
        return "xfeat-lighterglue"  # only registered ones are taken
    kinds = {str: "other", Path: Path("other"), int: 512, float: 0.5}
    for part in (hint, *typing.get_args(hint)):
        if part in kinds:
            return kinds[part]
    return ("a.jpg", "b.jpg", 1.0)


@pytest.mark.slow
def test_extend_reads_every_flag_or_refuses_it(scene, reads, tmp_path, tmp_path_factory):
    photos = tmp_path / "photos"
    shutil.copytree(scene / "images", photos)
    (tmp_path / "new").mkdir()
    shutil.move(max(photos.iterdir()), tmp_path / "new")
    plain = oracle(scene, refine=RefineOptions(refine="none"))
    reconstruct(photos, tmp_path / "model", plain)
    with noting_reads() as noted:
        extend(tmp_path / "model", tmp_path / "new", tmp_path / "out", oracle(scene))
    # With few photographs all pairs are taken, and refinement as well as fine matching are those of the chain.
    shared = {item.name for kind in (RefineOptions, MatchOptions) for item in dataclasses.fields(kind)}
    noted |= (shared & reads["export"]) | {"num_retrieved"}
    left = flags_of("extend") - noted - BY_PREDICTORS - BY_THE_TERMINAL
    assert refused(lambda options: extend(tmp_path / "model", tmp_path / "new", tmp_path / "no", options), left) == left
    assert not (tmp_path / "no").exists()


def test_export_of_a_run_reads_every_flag_or_refuses_it(tmp_path):
    """Flags that `write_colmap` reads are those of the export stage; none is left for the other formats."""
    (tmp_path / "scene.h5").touch()
    names = flags_of("export") - {"overwrite", "verbose"}
    assert refused(lambda options: export(tmp_path, tmp_path / "no", options, formats=("ply",)), names) == names
    written = names - refused(lambda options: export(tmp_path, tmp_path / "no", options), names)
    last = {item.name for group in ("match", "tracks", "refine") for item in group_fields(group)}
    assert written == last | BY_PREDICTORS | {"masks", "seed"}
    assert not (tmp_path / "no").exists()


def refused(call: Any, names: set[str]) -> set[str]:
    """Those of some options that a call refuses to be given."""
    found = set()
    default = ReconstructOptions()
    for group in (item.name for item in dataclasses.fields(ReconstructOptions)):
        for item in group_fields(group):
            if item.name in names:
                given = getattr(default, group)
                value = changed_value(type(given), item, getattr(given, item.name))
                options = dataclasses.replace(default, **{group: dataclasses.replace(given, **{item.name: value})})
                try:
                    call(options)
                except InputError as error:
                    if "does not read" in str(error):
                        found.add(item.name)
                except Dust3rSfmError:
                    pass
    return found


def group_fields(group: str) -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(getattr(ReconstructOptions(), group))


PLACES = {
    "localize": ("localization",),
    "train": ("training",),
    "depth": ("depth.py", "images/read.py"),
    "pose": ("pose.py",),
    "refine": ("refine_cameras.py", "images/read.py", "refinement", "tracks", "runs/models.py"),
    "web": ("web", "reconstruct.py", "features", "runs", "pairs", "predictors"),
}
"""Verbs beside the chain, and the rooms that read their options."""


@pytest.mark.parametrize("verb", PLACES)
def test_other_verbs_read_every_flag(verb):
    assert flags_of(verb) - attributes(*PLACES[verb]) - BY_PREDICTORS - BY_THE_TERMINAL == set()


def test_every_verb_that_takes_options_is_asked():
    assert {verb for verb in VERBS if flags_of(verb)} == {*UNTIL, "extend", "export", *PLACES}


def test_results_of_localization_are_not_taken_for_those_of_other_options():
    def inputs(options=None, predict=None, run=None):
        options, predict, run = options or LocalizeOptions(), predict or PredictorOptions(), run or RunOptions()
        predictor = load_predictor(PredictorOptions(), seed=0)
        unopened = UnopenedMap(path=Path("map"), predictor=predictor, options=options, predict=predict, seed=run.seed)
        return localization_inputs(unopened, [])

    for kind, name in ((LocalizeOptions, "options"), (PredictorOptions, "predict"), (RunOptions, "run")):
        for item in dataclasses.fields(kind):
            if item.name not in HOW | set(_NOT_FOUND_BY):
                changed = kind(**{item.name: changed_value(kind, item, getattr(kind(), item.name))})
                assert inputs(**{name: changed}) != inputs(), item.name


@pytest.mark.parametrize("verb", VERBS)
def test_every_plain_parameter_is_used(verb):
    """Those that come in no class: the body of the command names them."""
    source = Path(sys.modules[VERBS[verb].__module__].__file__ or "").read_text(encoding="utf-8")
    tree = ast.parse(source)
    (function,) = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == VERBS[verb].__name__
    ][:1]
    used = {node.id for line in function.body for node in ast.walk(line) if isinstance(node, ast.Name)}
    assert {argument.arg for argument in function.args.args} - used == set()
