"""Weights in the right shapes and with random values, and photographs of one texture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.features.matcher import list_matchers
from dust3r_sfm.images.read import read_images
from dust3r_sfm.options import ImageOptions
from dust3r_sfm.types import View

LEARNED = ("aliked-lightglue", "disk-lightglue", "xfeat-lighterglue")


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all published names whose tensors are random: networks load them, and find nothing sensible."""
    import kornia.feature as kf
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    xfeat_sizes = {name: value for name, value in kf.LightGlue.features["xfeat"].items() if name != "weights"}
    matcher = kf.LightGlue(None, input_dim=128).state_dict()
    lighter = {f"matcher.{name}": value for name, value in kf.LightGlue(None, **xfeat_sizes).state_dict().items()}
    xfeat = kf.XFeat().net
    with torch.no_grad():
        xfeat.keypoint_head[3].weight *= 30  # sharp enough for its threshold
    states = {
        "aliked-n16rot.pth": kf.ALIKED("aliked-n16rot").state_dict(),
        "aliked_lightglue.pth": matcher,
        "disk-depth-save.pth": {"extractor": kf.DISK().state_dict()},
        "disk_lightglue.pth": matcher,
        "xfeat.pt": xfeat.state_dict(),
        "xfeat-lighterglue.pt": lighter | {"extractor.unused": torch.zeros(1)},
    }
    for name, state in states.items():
        torch.save(state, folder / name)
    return folder


@pytest.fixture(params=LEARNED)
def learned(request: pytest.FixtureRequest) -> str:
    """The name of each learned matcher in turn."""
    return str(request.param)


@pytest.fixture
def installed(learned: str) -> str:
    """The same, where its published weights are on this machine."""
    missing = {matcher.name: matcher.missing for matcher in list_matchers()}[learned]
    if missing:
        pytest.skip(f"{missing[0].name} is not on this machine: dust3r-sfm features get {learned}")
    return learned


Photograph = Callable[..., View]


@pytest.fixture
def photograph(tmp_path: Path) -> Photograph:
    """Write a photograph of the texture and give its view."""

    def write(
        name: str = "a.png",
        size: tuple[int, int] = (480, 320),
        orientation: int = 1,
        mask: np.ndarray | None = None,
        blank: bool = False,
    ) -> View:
        rng = np.random.default_rng(0)
        grey = np.full((320, 480), 128.0)
        for cell in (4, 8, 16, 40):  # detail of several sizes
            coarse = rng.uniform(0, 255, (320 // cell, 480 // cell)).astype(np.uint8)
            grey += np.asarray(Image.fromarray(coarse).resize((480, 320), Image.Resampling.BICUBIC), float) - 128
        texture = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB").resize(size)
        if blank:
            texture = Image.new("RGB", size, (90, 90, 90))
        stored = texture.transpose(Image.Transpose.ROTATE_90) if orientation == 6 else texture
        exif = Image.Exif()
        exif[0x0112] = orientation
        (tmp_path / "images").mkdir(exist_ok=True)
        stored.save(tmp_path / "images" / name, exif=exif)
        masks = None
        if mask is not None:
            masks = tmp_path / "masks"
            masks.mkdir(exist_ok=True)
            Image.fromarray(mask.astype(np.uint8) * 255).save(masks / f"{name}.png")
        (view,) = read_images(tmp_path / "images", ImageOptions(strict=True, masks=masks), names=[name]).views
        return view

    return write
