"""What reads each kind of file, and whether what it returns can be."""

import argparse
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dust3r_sfm.evaluation.localization import read_results
from dust3r_sfm.evaluation.poses import evaluate_poses
from dust3r_sfm.features.features import read_features
from dust3r_sfm.formats.ply import read_ply
from dust3r_sfm.hloc import read_matches
from dust3r_sfm.images.colmap_models import read_model
from dust3r_sfm.images.foreign.colmap_camera import is_possible
from dust3r_sfm.images.foreign.read import read_foreign
from dust3r_sfm.images.known_cameras import read_intrinsics
from dust3r_sfm.images.known_poses import read_poses
from dust3r_sfm.images.load import load_mask, load_pixels
from dust3r_sfm.images.masks import find_masks
from dust3r_sfm.images.priors.control_points import read_control_points
from dust3r_sfm.images.priors.positions import read_positions
from dust3r_sfm.images.priors.read import with_priors
from dust3r_sfm.images.read import read_images
from dust3r_sfm.localization.hloc_files import read_retrieval
from dust3r_sfm.localization.queries import read_query_list
from dust3r_sfm.network.checkpoint import read_checkpoint
from dust3r_sfm.options import ImageOptions, KnownOptions
from dust3r_sfm.pairs.graph import read_pairs
from dust3r_sfm.predictors.store import PredictionStore
from dust3r_sfm.runs.record import read_record
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.system.hdf5 import open_or_say
from dust3r_sfm.training.checkpoint import Position, read_state, write_state
from dust3r_sfm.training.datasets.depth_files import read_depth
from dust3r_sfm.types import KnownCamera
from tests.fuzz.seeds import NAMES, write_seeds

Reader = Callable[[Path], Any]

_ORTHONORMAL = 1e-6
"""How far a rotation times its transpose may be from the identity, per entry."""


def write_all(folder: Path) -> None:
    """Write the seeds, those of networks too."""
    write_seeds(folder)
    (folder / "networks").mkdir()
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(2)).sum().backward()
    optimizer.step()
    write_state(folder / "networks" / "checkpoint.pt", "mini", Position(), network, optimizer, None)
    weights = {"args": argparse.Namespace(model="AsymmetricCroCo3DStereo(enc_depth=2)"), "model": network.state_dict()}
    torch.save(weights, folder / "networks" / "weights.pth")


def _state(folder: Path) -> Any:
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    return read_state(folder / "checkpoint.pt", "mini", network, optimizer, None)


def _hloc_matches(folder: Path) -> Any:
    with open_or_say(folder / "matches.h5", "HDF5 file of hloc's matches", "match again") as h5:
        return read_matches(h5, "a.jpg", "b.jpg")


def _photographs(folder: Path) -> Any:
    images = read_images(folder, ImageOptions())
    images = with_priors(images, KnownOptions(georegister=True))
    return images, [load_pixels(view) for view in images.views], [load_mask(view) for view in images.views]


class Readers:
    """The readers of each folder of seeds, by its name.

    Args:
        seeds: the whole files; their photographs are those that other files speak of.
    """

    def __init__(self, seeds: Path) -> None:
        self.images = read_images(seeds / "photographs", ImageOptions(), names=NAMES)
        self.model = read_model(seeds / "colmap-binary")

    def of(self, kind: str) -> list[Reader]:
        """All that reads a kind."""
        readers: Mapping[str, list[Reader]] = {
            "photographs": [_photographs],
            "masks": [self._masks],
            "colmap-binary": [read_model, self._cameras, self._poses],
            "colmap-text": [read_model, self._cameras, self._poses],
            "transforms": [
                self._in("transforms.json", reader) for reader in (self._cameras, self._poses, self._foreign)
            ],
            "poses": [
                self._in("poses.json", reader)
                for reader in (self._cameras, self._poses, self._foreign, self._evaluated)
            ],
            "bundler": [self._in("bundle.out", self._foreign)],
            "nvm": [self._in("model.nvm", self._foreign)],
            "metashape": [self._in("cameras.xml", self._foreign)],
            "polycam": [self._foreign],
            "texts": [
                self._in("K.txt", self._cameras),
                self._in("cameras.txt", self._cameras),
                self._in("pairs.txt", lambda path: read_pairs(path, NAMES)),
                self._in("queries.txt", read_query_list),
                self._in("results.txt", read_results),
                self._in("retrieval.txt", lambda path: read_retrieval(path, NAMES)),
                self._in("gps.csv", lambda path: read_positions(path, NAMES)),
                self._in("control.csv", lambda path: read_control_points(path, self.images)),
                self._in("7scenes", self._poses),
            ],
            "hloc": [self._in("features.h5", lambda path: read_features(path, self.images.views)), _hloc_matches],
            "predictions": [self._in("predictions.h5", lambda path: dict(PredictionStore(path, NAMES)))],
            "scene": [self._in("scene.h5", read_scene)],
            "run": [read_record],
            "arrays": [
                *(self._in(f"depth.{suffix}", read_depth) for suffix in ("npy", "npz", "png")),
                self._in("cloud.ply", read_ply),
            ],
            "networks": [_state, self._in("weights.pth", read_checkpoint)],
        }
        return readers[kind]

    @staticmethod
    def _in(name: str, reader: Reader) -> Reader:
        return functools.wraps(reader)(lambda folder: reader(folder / name))

    def _masks(self, folder: Path) -> Any:
        masks = find_masks(folder, self.images.names)
        views = [dataclasses.replace(view, mask=mask) for view, mask in zip(self.images.views, masks, strict=True)]
        return [load_mask(view) for view in views]

    def _cameras(self, path: Path) -> Any:
        return read_intrinsics(os.fspath(path), self.images.views, any_lens=True)

    def _poses(self, path: Path) -> Any:
        return read_poses(path, self.images.names)

    def _foreign(self, path: Path) -> Any:
        return read_foreign(path, self.images)

    def _evaluated(self, path: Path) -> Any:
        return evaluate_poses(self.model, path)


def nonsense(value: Any) -> str | None:
    """What in a returned value no camera, pose or model can have; None where there is nothing."""
    if isinstance(value, KnownCamera):
        return None if is_possible(value) else f"{value}"
    if type(value).__name__ == "Reconstruction":
        cameras = [camera for camera in value.cameras.values() if not (np.array(camera.params) < 1e9).all()]
        cameras += [camera for camera in value.cameras.values() if not camera.mean_focal_length() > 0]
        poses = [image.cam_from_world().matrix() for image in value.images.values() if image.has_pose]
        return f"{cameras[0]}" if cameras else next(filter(None, map(nonsense, poses)), None)
    if isinstance(value, np.ndarray) and value.shape[-2:] == (3, 4) and value.dtype.kind == "f":
        rotation = value[..., :3]
        error = np.abs(rotation @ np.swapaxes(rotation, -1, -2) - np.eye(3)).max(initial=0)
        return None if error < _ORTHONORMAL and np.isfinite(value).all() else f"a pose {value}"
    if dataclasses.is_dataclass(value):
        return nonsense([getattr(value, item.name) for item in dataclasses.fields(value)])
    if isinstance(value, Mapping):
        return nonsense(list(value.values()))
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(nonsense, value)), None)
    return None
