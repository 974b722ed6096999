"""validation.png: what the network makes of a few pairs it never trained on."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from dust3r_sfm.images.colour_maps import confidence_colours, depth_colours
from dust3r_sfm.network.network import NetworkPrediction
from dust3r_sfm.system.files import atomic_path
from dust3r_sfm.training.batch import Batch

_MAX_ROWS = 4
"""Pairs that the picture shows: chosen by hand."""


def write_picture(path: Path, batch: Batch, prediction: NetworkPrediction) -> None:
    """Draw pairs as rows: both photographs; of each view true depth, predicted depth and confidence."""
    from PIL import Image

    rows = [_row(batch, prediction, row) for row in range(0, min(2 * _MAX_ROWS, len(batch)), 2)]
    with atomic_path(path) as temporary:
        Image.fromarray(np.concatenate(rows)).save(temporary, format="PNG")


def _row(batch: Batch, prediction: NetworkPrediction, row: int) -> UInt8[np.ndarray, "_ _ 3"]:
    cells = [_photograph(batch.images1[row]), _photograph(batch.images2[row])]
    views = (
        (batch.target.points1, batch.target.valid1, prediction.points1, prediction.confidence1),
        (batch.target.points2, batch.target.valid2, prediction.points2, prediction.confidence2),
    )
    for truth, valid, predicted, confidence in views:
        depth = truth[row, ..., 2].where(valid[row], 0).clamp_min(0)
        cells.append(depth_colours(depth.float().cpu().numpy()))
        cells.append(depth_colours(predicted[row, ..., 2].float().cpu().numpy()))
        cells.append(confidence_colours(confidence[row].float().cpu().numpy()))
    return np.concatenate(cells, axis=1)


def _photograph(image: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    values = image.float().cpu().permute(1, 2, 0).numpy()
    pixels: UInt8[np.ndarray, "h w 3"] = np.clip(np.round((values + 1) * 127.5), 0, 255).astype(np.uint8)
    return pixels
