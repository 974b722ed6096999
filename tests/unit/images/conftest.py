"""Pictures whose pixels say where they lie: red grows with x, green with y (raw grid), blue is a checkerboard."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

MakePhotograph = Callable[..., Path]


def ramp(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Red is 255 x / width and green 255 y / height at each pixel centre; `seed` changes the blue pattern."""
    width, height = size
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    blue = np.random.default_rng(seed).random((height // 16 + 1, width // 16 + 1)).repeat(16, 0).repeat(16, 1)
    return Image.fromarray(np.rint(255 * np.stack([x, y, blue[:height, :width]], axis=2)).astype(np.uint8))


@pytest.fixture(scope="session")
def make_exif() -> Callable[..., Image.Exif]:
    """Build an EXIF block from tags by name: `make_exif(Orientation=6, FocalLength=50.0)`."""

    def build(**tags: Any) -> Image.Exif:
        block = Image.Exif()
        for name, value in tags.items():
            directory = block if name in ("Orientation", "Make", "Model") else block.get_ifd(ExifTags.IFD.Exif)
            directory[ExifTags.Base[name]] = value
        return block

    return build


@pytest.fixture(scope="session")
def parity(data_root: Path) -> Path:
    """Folder of numbers made by the reference implementation."""
    folder = data_root.parent / "reference" / "parity"
    if not folder.is_dir():
        pytest.skip(f"no parity fixtures at {folder}")
    return folder


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """An empty folder for photographs."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    return folder


@pytest.fixture
def make(photographs: Path) -> MakePhotograph:
    """Save a picture under a name: `make("a/b.jpg", (640, 480), exif=…, mode=…)`; each call draws another one."""
    count = 0

    def save(name: str, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any) -> Path:
        nonlocal count
        count += 1
        path = photographs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in (".jpg", ".jpeg"):
            options = {"quality": 95, "subsampling": 0} | options
        ramp(size, seed=count).convert(mode).save(path, **options)
        return path

    return save
