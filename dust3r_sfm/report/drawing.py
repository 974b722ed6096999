"""Line drawings of the page: cameras over the points, and the graph of pairs between the cameras."""

from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.report.maps import data_uri
from dust3r_sfm.report.sides import FRUSTUM_EDGES, Side

_LABELS_UP_TO_IMAGES = 40
"""More names would cover each other; chosen by hand."""


def side_svg(side: Side, names: Sequence[str], weak: Bool[np.ndarray, " n"]) -> str:
    """One side of the model; pointing at a camera names it."""
    height, width = side.pixels.shape[:2]
    cameras = "".join(
        f'<path class="camera{" weak" if is_weak else ""}" d="{_outline(frustum)}"><title>{escape(name)}</title></path>'
        for frustum, name, is_weak in zip(side.frusta, names, weak, strict=True)
    )
    picture = f'<image href="{data_uri(side.pixels, "png")}" width="{width}" height="{height}"/>'
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{side.title}">{picture}{cameras}</svg>'


def _outline(frustum: Float64[np.ndarray, "5 2"]) -> str:
    return " ".join(
        f"M{frustum[a, 0]:.1f} {frustum[a, 1]:.1f}L{frustum[b, 0]:.1f} {frustum[b, 1]:.1f}" for a, b in FRUSTUM_EDGES
    )


def graph_svg(
    names: Sequence[str],
    positions: Float64[np.ndarray, "n 2"],
    pairs: Int64[np.ndarray, "p 2"],
    weights: Float64[np.ndarray, " p"],
    critical: Bool[np.ndarray, " p"],
    weak: Bool[np.ndarray, " n"],
    size: tuple[int, int] = (900, 560),
) -> str:
    """The pairs as lines between the cameras, seen from above.

    Args:
        names: of the images.
        positions: of the cameras on the ground; spread over the drawing.
        pairs: indices of each pair's images.
        weights: 0 (rejected) to 1 (trusted).
        critical: pairs without which the model falls apart.
        weak: images that hang on few pairs.
        size: of the drawing in pixels.
    """
    at = _spread(positions, size)
    order = np.lexsort((critical, weights))  # what matters is drawn last
    lines = "".join(_line(at[pairs[row]], float(weights[row]), bool(critical[row]), names, pairs[row]) for row in order)
    has_labels = len(names) <= _LABELS_UP_TO_IMAGES
    nodes = "".join(map(_node, at, names, weak.tolist(), [has_labels] * len(names)))
    return f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="pair graph">{lines}{nodes}</svg>'


def _node(at: Float64[np.ndarray, " 2"], name: str, is_weak: bool, has_label: bool) -> str:
    x, y = at
    label = f'<text x="{x + 7:.1f}" y="{y + 4:.1f}">{escape(_short(name))}</text>' if has_label else ""
    kind = "node weak" if is_weak else "node"
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{escape(name)}</title></circle>{label}'


def _line(
    ends: Float64[np.ndarray, "2 2"], weight: float, critical: bool, names: Sequence[str], pair: Int64[np.ndarray, " 2"]
) -> str:
    kind = "critical" if critical else "rejected" if weight == 0 else "trusted"
    (x1, y1), (x2, y2) = ends
    title = f"{escape(names[pair[0]])} – {escape(names[pair[1]])}: weight {weight:.2f}"
    return (
        f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke-opacity="{max(weight, 0.25):.2f}"><title>{title}</title></line>'
    )


def _spread(positions: Float64[np.ndarray, "n 2"], size: tuple[int, int]) -> Float64[np.ndarray, "n 2"]:
    """Fit positions into the drawing: half by where they are, half by rank, so that close cameras stay apart."""
    ranks = np.argsort(np.argsort(positions, axis=0, kind="stable"), axis=0) / max(len(positions) - 1, 1)
    low, high = positions.min(axis=0), positions.max(axis=0)
    shares = (positions - low) / np.maximum(high - low, 1e-9)
    placed: Float64[np.ndarray, "n 2"] = 40 + (shares + ranks) / 2 * (np.array(size) - np.array([140.0, 80.0]))
    return placed


def _short(name: str, at_most: int = 16) -> str:
    name = name.rsplit("/", 1)[-1]
    return name if len(name) <= at_most else "…" + name[1 - at_most :]
