"""The benchmark of depth from single photographs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

from dust3r_sfm.errors import InputError
from dust3r_sfm.evaluation.mono_depth import MonoErrors, depth_on_truth, mean_mono, mono_errors
from dust3r_sfm.images.read import read_images
from dust3r_sfm.options import ImageOptions, PredictorOptions, RunOptions
from dust3r_sfm.predictors.classical.predictor import ClassicalPredictor
from dust3r_sfm.predictors.dust3r import monocular
from dust3r_sfm.predictors.predictor import PairPredictor, check_predictor, load_predictor, predictor_facts
from dust3r_sfm.single import require_network
from dust3r_sfm.system.terminal import Terminal
from pipelines.mono_depth.published import PUBLISHED, SETS, columns
from pipelines.mono_depth.rules import RULES, Lineage, crop, sentence
from pipelines.mono_depth.sample import DepthSample
from pipelines.mono_depth.sets import read_set
from pipelines.records import Records
from pipelines.report import Report, write_report


def mono_depth(
    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    predictor: PredictorOptions,
    run: RunOptions,
    sets: tuple[str, ...] = SETS,
    lineage: Lineage = "sc-depth",
    limit: int | None = None,
) -> None:
    """Estimate depth of single photographs and print AbsRel and delta beside published ones.

    Args:
        data: Folder of the sets: nyu, kitti, bonn, tum, ddad.
        out: Folder for samples and tables.
        predictor: Which predictor; it looks at each photograph in the pair with itself.
        run: How to run.
        sets: Sets to work on.
        lineage: sc-depth: the rules that are very likely the paper's; monst3r: those of MonST3R and CUT3R.
        limit: Images of each set, for a first look.
    """
    found, missing = _read(data, out, sets, lineage)
    records = Records(
        out,
        {"data": str(data.resolve()), "lineage": lineage, "seed": run.seed, **predictor_facts(predictor)},
        overwrite=run.overwrite,
    )
    loaded = load_predictor(predictor, run.seed)
    if isinstance(loaded, ClassicalPredictor):
        require_network(loaded)
    check_predictor(loaded)
    todo = [(name, sample) for name, samples in found.items() for sample in samples[:limit]]
    with Terminal().stage("depth") as step, records.saving():
        for done, (name, sample) in enumerate(todo):
            step(done, len(todo))
            if _key(name, sample) not in records:
                records.add(_key(name, sample), _measure(sample, loaded, lineage, name))
        step(len(todo), len(todo))
    if any(len(samples) > len(samples[:limit]) for samples in found.values()):
        missing["--limit"] = f"at most {limit} images of each set were judged"
    means = {}
    for name, samples in found.items():
        judged = [records.samples[_key(name, sample)] for sample in samples[:limit]]
        errors = [MonoErrors(**record) for record in judged if record is not None]
        if len(errors) < len(judged):
            missing[f"{name}, depth"] = f"{len(judged) - len(errors)} images have no true depth that counts"
        if errors:
            means[name] = (len(errors), mean_mono(errors, RULES[lineage][name]))
    print(write_report(out, _report(means, missing, lineage, predictor.predictor)))


def _report(
    means: Mapping[str, tuple[int, MonoErrors]], missing: Mapping[str, str], lineage: Lineage, method: str
) -> Report:
    figures: dict[str, float] = {}
    for name, (_, mean) in means.items():
        figures |= dict(zip(columns(name), (100 * mean.abs_rel, 100 * mean.delta1), strict=True))
    rule = next(iter(RULES[lineage].values()))
    return Report(
        pipeline="Monocular depth",
        method=method,
        protocol=(
            f"Rules of {lineage}: scaled by the ratio of medians of each image, "
            f"{'clamped' if rule.clamp else 'not clamped'}, brought to the truth's pixels {rule.interpolation}, mean "
            f"over images {'weighted by valid pixels' if rule.weighted else 'without weights'}. DUSt3R's paper does "
            "not say its own.",
            *(sentence(lineage, name) for name in means),
            "z of the first pointmap of the photograph in the pair with itself; AbsRel and δ < 1.25 in percent.",
        ),
        columns=tuple(column for name in means for column in columns(name)),
        measured=figures,
        groups={name: {"images": count, "pixels": mean.num_pixels} for name, (count, mean) in means.items()},
        missing=missing,
        published=PUBLISHED,
    )


def _read(
    data: Path, out: Path, sets: tuple[str, ...], lineage: Lineage
) -> tuple[dict[str, list[DepthSample]], dict[str, str]]:
    """The samples of each set that is here, and what is not.

    Raises:
        InputError: a set is unknown, or none is here.
    """
    unknown = [name for name in sets if name not in SETS]
    if unknown:
        raise InputError(f"There is no set {unknown[0]}; the sets are {', '.join(SETS)}.")
    found: dict[str, list[DepthSample]] = {}
    missing: dict[str, str] = {}
    for name in sets:
        if name not in RULES[lineage]:
            missing[name] = f"{lineage} has no rules for it"
            continue
        try:
            read = read_set(data, name, lineage, out / "pictures" / name)
        except InputError as error:
            missing[name] = str(error).rstrip(".")
            continue
        found[name] = read.samples
        missing |= read.missing
    if not found:
        name = next((name for name in missing if (data / name).is_dir()), next(iter(missing)))
        raise InputError(
            f"{data} holds no set that can be judged ({name}: {missing[name]}); give the folder that holds "
            f"{', '.join(SETS)}."
        )
    return found, missing


def _measure(sample: DepthSample, predictor: PairPredictor, lineage: Lineage, name: str) -> dict[str, Any] | None:
    """Errors of an image; None without a true depth that counts."""
    path = sample.root / sample.name
    if sample.write_picture is not None and not path.is_file():
        sample.write_picture(path)
    (view,) = read_images(sample.root, ImageOptions(strict=True), predictor.grid, [sample.name]).views
    depth = monocular(predictor, view).points1[..., 2]
    truth, rule = sample.truth(), RULES[lineage][name]
    on_truth = depth_on_truth(depth, view.network_from_image, view.size, truth.shape, rule.interpolation)
    errors = mono_errors(on_truth, truth, rule, crop(lineage, name, truth.shape))
    return None if errors is None else vars(errors).copy()


def _key(name: str, sample: DepthSample) -> str:
    return f"{name}: {sample.name}"
