"""The page: what was placed, what is weak and what to do about it, and how the model was made."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from dust3r_sfm.alignment.diagnosis import Diagnosis, diagnose
from dust3r_sfm.geometry.transforms import centres
from dust3r_sfm.images.colour_maps import confidence_colours, depth_colours
from dust3r_sfm.report.drawing import graph_svg, side_svg
from dust3r_sfm.report.maps import data_uri, photograph, shrunk
from dust3r_sfm.report.model import Model, read_drawn
from dust3r_sfm.report.sides import draw_sides
from dust3r_sfm.report.style import STYLE
from dust3r_sfm.runs.record import read_record
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.system.files import write_text
from dust3r_sfm.types import Scene

_THUMBNAIL_PX = 220
"""Width of a small picture; chosen by hand."""
_WEAK_DEGREE = 2
"""A photograph with fewer trusted pairs is weak; chosen by hand."""
_LEVELS = {
    "good": "good: nothing speaks against it",
    "check": "to be checked before it is used",
    "doubtful": "doubtful: it is likely to be wrong",
}
_LEGEND = {
    "trusted": "trusted pair",
    "critical": "the model falls apart without it",
    "rejected": "contradicts the others, not used",
    "weak": "photograph that hangs on one pair",
}


def write_report(out: Path) -> Path:
    """Write OUT/report.html from the files of a finished run; it holds all its pictures and asks for nothing else.

    Args:
        out: output folder with run.json, scene.h5 and sparse/0.

    Returns:
        The file.

    Raises:
        InputError: a file of the run is missing or damaged.
        OutputError: the disk is full.
    """
    record, scene = read_record(out).as_json(), read_scene(out / "scene.h5")
    model = read_drawn(out / "sparse" / "0", scene)
    diagnosis = diagnose(scene)
    weak = diagnosis.degrees < _WEAK_DEGREE
    index_of = {name: index for index, name in enumerate(scene.names)}
    placed = np.array([index_of[name] for name in model.names], dtype=np.int64)
    sections = [
        _section("How far to believe it", _verdict(record)),
        _section("What needs your attention", _attention(record)),
        _section("The model from three sides", _sides(model, weak[placed])),
        _section("Pairs", _graph(scene, diagnosis, weak, model)),
        _section("Photographs", _cards(scene, diagnosis, model)),
        _section("Where it lies in the world", _world(record)),
        _section("Other models", _apart(record)),
        _section("Left out", _left_out(record)),
        _section("How it was made", _making(record)),
    ]
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(out.resolve().name)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>{escape(out.resolve().name)}</h1>{_facts(record)}{''.join(sections)}</body></html>\n"
    )
    write_text(out / "report.html", page)
    return out / "report.html"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _facts(record: Mapping[str, Any]) -> str:
    summary = record.get("summary", {})
    registered, dropped = summary.get("registered", ()), summary.get("dropped", {})
    total = len(registered) + len(dropped) + sum(len(one["photographs"]) for one in summary.get("apart", ()))
    facts = {
        "registered": f"{len(registered)} of {total} photographs",
        "points": f"{summary.get('num_points', 0)}",
        "track length": f"{summary.get('mean_track_length', 0):.2f} images",
        "reprojection error": f"{summary.get('mean_reprojection_error', 0):.2f} px",
        "predictor": str(summary.get("predictor", "")),
        "time": f"{sum(summary.get('seconds', {}).values()):.0f} s",
    }
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f'<dl class="facts">{items}</dl>'


def _attention(record: Mapping[str, Any]) -> str:
    sentences = record.get("summary", {}).get("warnings", ())
    if not sentences:
        return '<p class="good">Nothing: every photograph is tied to several others.</p>'
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"


def _verdict(record: Mapping[str, Any]) -> str:
    verdict = record.get("verdict")
    if not verdict:
        return ""
    reasons = "".join(f"<li>{escape(sentence)}</li>" for sentence in verdict["reasons"])
    kind = "good" if verdict["level"] == "good" else "weak"
    return f'<p class="{kind}">The model is {_LEVELS[verdict["level"]]}.</p>' + (
        f"<ul>{reasons}</ul>" if reasons else ""
    )


def _sides(model: Model, weak: np.ndarray) -> str:
    if not model.names:
        return ""
    figures = (
        f"<figure>{side_svg(side, model.names, weak)}<figcaption>{side.title}</figcaption></figure>"
        for side in draw_sides(model)
    )
    return f'<div class="sides">{"".join(figures)}</div>'


def _graph(scene: Scene, diagnosis: Diagnosis, weak: np.ndarray, model: Model) -> str:
    if not len(diagnosis.pairs):
        return ""
    from_above = _ground(scene, model)
    drawing = graph_svg(scene.names, from_above, diagnosis.pairs, diagnosis.weights, diagnosis.bridges, weak)
    meanings = "".join(f'<span class="{kind}">{meaning}</span>' for kind, meaning in _LEGEND.items())
    legend = f'<p class="legend">{meanings}</p>'
    worst = np.lexsort((diagnosis.residuals, diagnosis.weights))[:10]
    heads = ("pair", "weight", "median disagreement of depth", "triangles miss by")
    rows = (_pair_row(diagnosis, row) for row in worst.tolist())
    return f"{drawing}{legend}<h3>The weakest</h3>{_table(heads, rows)}"


def _pair_row(diagnosis: Diagnosis, row: int) -> list[str]:
    i, j = diagnosis.pairs[row]
    residual, rotation = diagnosis.residuals[row], diagnosis.cycles[row, 0]
    return [
        f"{diagnosis.names[i]} – {diagnosis.names[j]}",
        f"{diagnosis.weights[row]:.2f}",
        f"{100 * residual:.1f} %" if np.isfinite(residual) else "",
        f"{rotation:.2f}°" if np.isfinite(rotation) else "",
    ]


def _ground(scene: Scene, model: Model) -> np.ndarray:
    """Camera centres on the plane of their two largest extents; images that are not placed stand in a row below."""
    eyes, placed = np.zeros((len(scene.names), 3)), np.isin(scene.names, model.names)
    centre_of = dict(zip(model.names, centres(model.cam_from_world), strict=True))
    eyes[placed] = [centre_of[name] for name, is_placed in zip(scene.names, placed, strict=True) if is_placed]
    middle = eyes[placed].mean(axis=0)
    _, _, axes = np.linalg.svd(eyes[placed] - middle, full_matrices=True)
    ground: np.ndarray = (eyes - middle) @ axes[:2].T
    if not placed.all():
        low, high = ground[placed].min(axis=0), ground[placed].max(axis=0)
        ground[~placed, 0] = np.linspace(low[0], high[0], int((~placed).sum()))
        ground[~placed, 1] = high[1] + 0.3 * (high[1] - low[1] + 1e-9)
    return ground


def _cards(scene: Scene, diagnosis: Diagnosis, model: Model) -> str:
    observations = dict(zip(model.names, model.num_observations.tolist(), strict=True))
    cards = []
    for index, view in enumerate(scene.views):
        pictures = [
            ("photograph", photograph(view, _THUMBNAIL_PX)),
            ("depth", shrunk(depth_colours(scene.depths[index]), _THUMBNAIL_PX)),
            ("confidence", shrunk(confidence_colours(scene.confidences[index]), _THUMBNAIL_PX)),
        ]
        shown = "".join(
            f'<img loading="lazy" alt="{kind}" title="{kind}" src="{data_uri(pixels)}">'
            for kind, pixels in pictures
            if pixels is not None
        )
        state = f"{diagnosis.degrees[index]} trusted pairs, {observations.get(view.name, 0)} points"
        if np.isfinite(diagnosis.position_sigmas[index]):
            state += f", position ± {100 * diagnosis.position_sigmas[index]:.1f} % of the nearest baseline"
        kind = "card" if view.name in observations and diagnosis.degrees[index] >= _WEAK_DEGREE else "card weak"
        if view.name not in observations:
            state = "not placed"
        elif not scene.registered[index]:
            state = f"placed by its keypoints, {observations[view.name]} points"
        cards.append(f'<div class="{kind}"><div class="maps">{shown}</div><b>{escape(view.name)}</b> {state}</div>')
    return f'<div class="cards">{"".join(cards)}</div>'


def _world(record: Mapping[str, Any]) -> str:
    """The frame, and by how much measured positions and points are missed, the worst first."""
    world = record.get("world", {})
    if not world:
        return ""
    parts = [f"<p>{escape(world.get('sentence', ''))}</p>"]
    if positions := world.get("positions"):
        of_positions = ("photograph", "misses x or east, m", "y or north, m", "z or up, m", "")
        rows = (
            [one["photograph"], *(f"{value:.2f}" for value in one["miss_m"]), "not believed" if one["wrong"] else ""]
            for one in sorted(positions, key=lambda one: -np.linalg.norm(one["miss_m"]))
        )
        parts.append(_table(of_positions, rows))
    if points := world.get("control_points"):
        of_points = ("control point", "misses x, m", "y, m", "z, m", "error of its marks, px", "photographs")
        parts.append(_table(of_points, map(_point_row, points)))
    return "".join(parts)


def _point_row(point: Mapping[str, Any]) -> list[str]:
    miss = ["" if point["miss_m"] is None else f"{point['miss_m'][axis]:.3f}" for axis in range(3)]
    error = "" if point["error_px"] is None else f"{point['error_px']:.2f}"
    return [point["point"], *miss, error, ", ".join(point["photographs"])]


def _apart(record: Mapping[str, Any]) -> str:
    models = record.get("summary", {}).get("apart", ())
    rows = ([one["model"], ", ".join(one["photographs"]), one["reason"]] for one in models)
    return _table(("model", "photographs", "why"), rows) if models else ""


def _left_out(record: Mapping[str, Any]) -> str:
    dropped = record.get("summary", {}).get("dropped", {})
    return _table(("photograph", "reason"), dropped.items()) if dropped else ""


def _making(record: Mapping[str, Any]) -> str:
    seconds = record.get("summary", {}).get("seconds", {})
    times = _table(("stage", "seconds"), ((stage, f"{value:.1f}") for stage, value in seconds.items()))
    details = json.dumps({name: record.get(name) for name in ("predictor", "versions", "options")}, indent=2)
    return f"{times}<details><summary>options and versions</summary><pre>{escape(details)}</pre></details>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
