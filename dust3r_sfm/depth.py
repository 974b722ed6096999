"""Depth and focal length of each photograph by itself, for a folder of photographs.

OUT holds, for a photograph sub/IMG.jpg, depth/sub/IMG.jpg.npy and confidence/sub/IMG.jpg.npy (float32 on the upright
network grid), preview/sub/IMG.jpg.png (near is red, far is blue, unknown is black), and one depth.json for all.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from dust3r_sfm.errors import OutputError, ReconstructionError
from dust3r_sfm.images.colour_maps import depth_colours
from dust3r_sfm.images.read import read_images
from dust3r_sfm.options import ImageOptions, OutputOptions, PredictorOptions, ReadOptions
from dust3r_sfm.predictors.dust3r import monocular
from dust3r_sfm.predictors.predictor import check_predictor, load_predictor
from dust3r_sfm.runs.folder import require_apart
from dust3r_sfm.single import OwnGeometry, own_geometry, require_network
from dust3r_sfm.system.digest import digest
from dust3r_sfm.system.files import atomic_path, write_json
from dust3r_sfm.system.lock import locked
from dust3r_sfm.system.progress import Progress, Silent
from dust3r_sfm.system.ranges import require_ranges
from dust3r_sfm.types import View

_FORMAT = "dust3r_sfm depth 1"
_MAX_UNLISTED_SECONDS = 5.0
"""A killed run does again what it finished in its last seconds; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class DepthSummary:
    """What a run came to.

    Attributes:
        out: the output folder.
        focals: {name: focal length in original pixels} of the photographs that have depth.
        dropped: {name: reason} of the others.
        is_metric: the depth is in metres.
        predictor: name and licence of the predictor.
    """

    out: Path
    focals: dict[str, float]
    dropped: dict[str, str]
    is_metric: bool
    predictor: str

    def __str__(self) -> str:
        """The closing lines of the command."""
        low, high = min(self.focals.values()), max(self.focals.values())
        lines = [
            f"depth               {len(self.focals)} of {len(self.focals) + len(self.dropped)} photographs",
            f"unit                {'metres' if self.is_metric else 'none: each photograph has its own scale'}",
            "focal length        " + (f"{low:.1f} px" if low == high else f"{low:.1f} to {high:.1f} px"),
            f"predictor           {self.predictor}",
        ]
        lines += [f"left out            {name}: {reason}" for name, reason in self.dropped.items()]
        return "\n".join([*lines, f"index               {self.out / 'depth.json'}"])


def estimate_depth(
    photos: Path,
    out: Path,
    images: ReadOptions | None = None,
    predictor: PredictorOptions | None = None,
    run: OutputOptions | None = None,
    progress: Progress | None = None,
) -> DepthSummary:
    """Estimate depth and focal length of every photograph of a folder, each by itself.

    Photographs that a run before has finished with the same weights are passed over.

    Args:
        photos: folder of photographs, sub-folders included.
        out: output folder; depth.json lists its files, and for each photograph the focal length in original pixels,
            sizes, `network_from_image` (the map from raw original to network pixels) and the licence of the weights.
        images: how photographs are read.
        predictor: a network predictor and its weights.
        run: what becomes of an earlier run.
        progress: shows the stages; silent by default.

    Raises:
        InputError: the photographs cannot be used.
        OutputError: the output folder holds something else, is not writable, or the disk is full.
        PredictorError: the predictor cannot look at one photograph alone, or its weights cannot be used.
        ReconstructionError: no photograph has usable depth.
    """
    options = images or ReadOptions(), predictor or PredictorOptions(), run or OutputOptions()
    require_ranges(options[1])
    with locked(out):
        return _estimate(photos, out, *options, progress or Silent())


def _estimate(
    photos: Path, out: Path, images: ReadOptions, predictor: PredictorOptions, run: OutputOptions, progress: Progress
) -> DepthSummary:
    network = require_network(load_predictor(predictor, seed=0))  # nothing in a network is random
    with progress.stage("images") as step:
        alone = ImageOptions(masks=images.masks, strict=images.strict, camera_sharing="per-image")
        photographs = read_images(photos, alone, network.grid, progress=step)
    require_apart(photos, out)
    facts = check_predictor(network) | ({} if predictor.precision == "auto" else {"precision": predictor.precision})
    index = _Index(out, facts, network.is_metric, run.overwrite)
    index.record["dropped"] = {dropped.name: dropped.reason for dropped in photographs.dropped}
    waiting = [view for view in photographs.views if not index.has(view)]
    num_done = len(photographs) - len(waiting)
    with progress.stage("depth") as step:
        step(num_done, len(photographs))
        try:
            for view in waiting:
                try:
                    index.add(view, own_geometry(monocular(network, view), view))
                except ReconstructionError as error:
                    index.record["dropped"][view.name] = str(error)
                num_done += 1
                step(num_done, len(photographs))
        finally:
            index.save()
    focals = {name: entry["focal"] for name, entry in index.record["photographs"].items() if name in photographs.names}
    if not focals:
        raise ReconstructionError(
            f"The network gives no usable depth for any photograph in {photos}; use other weights.", path=photos
        )
    return DepthSummary(
        out=out,
        focals=focals,
        dropped=index.record["dropped"],
        is_metric=network.is_metric,
        predictor=f"{network.name} ({network.licence})",
    )


class _Index:
    """depth.json and the files that it lists."""

    def __init__(self, out: Path, predictor: dict[str, Any], is_metric: bool, overwrite: bool) -> None:
        """
        Raises:
            OutputError: OUT holds something else, or depth of other weights, and `overwrite` is off.
        """
        self._out = out
        self._path = out / "depth.json"
        self._saved = time.monotonic()
        self.record: dict[str, Any] = {
            "format": _FORMAT,
            "predictor": predictor,
            "unit": "metres" if is_metric else None,
            "photographs": {},
        }
        found = self._read(overwrite)
        if found and _identity(found) == _identity(self.record):
            self.record["photographs"] = found["photographs"]
        elif found and not overwrite:
            raise OutputError(
                f"{out} holds depth that '{found['predictor']['name']}' made with other weights or precision; choose "
                "another folder or add --overwrite.",
                path=out,
            )

    def has(self, view: View) -> bool:
        """Whether the depth of this very photograph is there."""
        entry = self.record["photographs"].get(view.name)
        return (
            entry is not None
            and {name: entry.get(name) for name in ("photograph", "mask", "network_size")} == _state(view)
            and all((self._out / entry[kind]).is_file() for kind in _files(view.name))
        )

    def add(self, view: View, geometry: OwnGeometry) -> None:
        """Write the files of one photograph and list them."""
        files = _files(view.name)
        _write(self._out / files["depth"], lambda file: np.save(file, geometry.depth))
        _write(self._out / files["confidence"], lambda file: np.save(file, geometry.confidence))
        _write(self._out / files["preview"], lambda file: _save_png(file, depth_colours(geometry.depth)))
        per_pixel = float(np.sqrt(abs(np.linalg.det(view.network_from_image[:2, :2]))))
        known = geometry.depth[geometry.depth > 0]
        self.record["photographs"][view.name] = {
            **files,
            "size": list(view.size),
            "focal": geometry.focal / per_pixel,
            "median_depth": float(np.median(known)),
            "mean_confidence": float(geometry.confidence.mean()),
            "network_from_image": view.network_from_image.tolist(),
            **_state(view),
        }
        if time.monotonic() - self._saved > _MAX_UNLISTED_SECONDS:
            self.save()

    def save(self) -> None:
        """Write depth.json."""
        self.record["photographs"] = dict(sorted(self.record["photographs"].items()))
        write_json(self._path, self.record)
        self._saved = time.monotonic()

    def _read(self, overwrite: bool) -> dict[str, Any]:
        """The record of a run before; empty where there is none."""
        if not self._path.is_file():
            if not overwrite and (self._out.is_file() or (self._out.is_dir() and any(self._out.iterdir()))):
                raise OutputError(
                    f"{self._out} is not empty and holds no depth of this program; choose another folder or add "
                    "--overwrite."
                )
            return {}
        try:
            record = json.loads(self._path.read_text(encoding="utf-8"))
            if record["format"] != _FORMAT or not isinstance(record["photographs"], dict):
                raise ValueError
        except (ValueError, KeyError, TypeError) as error:
            if overwrite:
                return {}
            raise OutputError(f"{self._path} is damaged; add --overwrite to make all depth again.") from error
        found: dict[str, Any] = record
        return found


def _identity(record: dict[str, Any]) -> tuple[str | None, ...]:
    """What depth depends on beside the photograph: the predictor's way of showing it, the weights, their precision."""
    predictor = record["predictor"]
    return predictor["name"], predictor.get("source", {}).get("sha256"), predictor.get("precision")


def _state(view: View) -> dict[str, Any]:
    """What tells that a photograph or its mask is another than before."""
    return {
        "photograph": digest(view.path),
        "mask": digest(view.mask) if view.mask else None,
        "network_size": list(view.network_size),
    }


def _files(name: str) -> dict[str, str]:
    suffixes = {"depth": "npy", "confidence": "npy", "preview": "png"}
    return {kind: f"{kind}/{name}.{suffix}" for kind, suffix in suffixes.items()}


def _write(path: Path, save: Callable[[BytesIO], None]) -> None:
    content = BytesIO()
    save(content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def _save_png(file: BytesIO, pixels: UInt8[np.ndarray, "h w 3"]) -> None:
    from PIL import Image

    Image.fromarray(pixels).save(file, format="PNG")
