"""BlendedMVS (Yao et al. 2020) in the layout that DUSt3R's preprocessing leaves on people's disks.

ROOT/blendedmvs_pairs.npy lists the pairs (seq_high, seq_low, img1, img2, score); ROOT/SEQUENCE/00000012.jpg, .exr and
.npz hold each view: photograph, depth, and `intrinsics` (centre of the first pixel at 0), `R_cam2world`, `t_cam2world`.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from dust3r_sfm.errors import InputError, SampleError
from dust3r_sfm.geometry.transforms import invert
from dust3r_sfm.training.datasets.depth_files import read_depth
from dust3r_sfm.training.datasets.source import ViewPair
from dust3r_sfm.training.view import TrainingView

_FIELDS = ("seq_high", "seq_low", "img1", "img2")
_VALIDATION_EVERY = 10
"""Every so many sequences judges: Wang et al. 2024, released code."""


class BlendedMvs:
    """The pairs of one split; every tenth sequence is kept for validation, as in the reference.

    Raises:
        InputError: the list of pairs is missing or damaged.
    """

    margin = 16

    def __init__(self, root: Path, split: Literal["train", "val"] = "train") -> None:
        self.name, self._root = "BlendedMVS", root
        path = root / "blendedmvs_pairs.npy"
        try:
            pairs = np.load(path, allow_pickle=False)
            kept = (pairs["seq_low"] % _VALIDATION_EVERY > 0) == (split == "train")
            self._pairs = [tuple(int(pair[field]) for field in _FIELDS) for pair in pairs[kept]]
        except (OSError, ValueError, IndexError) as error:
            raise InputError(
                f"{path} cannot be read ({error}); give the folder that DUSt3R's preprocessing of BlendedMVS made.",
                path=path,
            ) from error

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self._pairs)

    def pair(self, index: int, rng: np.random.Generator) -> ViewPair:
        """Read one pair."""
        high, low, first, second = self._pairs[index]
        folder = self._root / f"{high:08x}{low:016x}"
        return _view(folder / f"{first:08d}"), _view(folder / f"{second:08d}")


def _view(stem: Path) -> TrainingView:
    from PIL import Image

    depth = read_depth(stem.with_suffix(".exr"))
    try:
        with Image.open(stem.with_suffix(".jpg"), formats=["JPEG"]) as file:
            pixels = np.asarray(file.convert("RGB"))
        with np.load(stem.with_suffix(".npz"), allow_pickle=False) as camera:
            intrinsics = camera["intrinsics"].astype(np.float64)
            rotation, centre = camera["R_cam2world"], camera["t_cam2world"]
    except (OSError, ValueError, KeyError) as error:
        raise SampleError(f"{stem} cannot be read ({error}).", path=stem) from error
    if depth.shape != pixels.shape[:2]:
        raise SampleError(f"{stem} has a depth map of another size than its photograph.", path=stem)
    intrinsics[:2, 2] += 0.5
    world_from_cam = np.column_stack([rotation, centre]).astype(np.float64)
    return TrainingView(
        name=f"{stem.parent.name}/{stem.name}",
        pixels=pixels,
        depth=depth,
        intrinsics=intrinsics,
        cam_from_world=invert(world_from_cam),
    )
