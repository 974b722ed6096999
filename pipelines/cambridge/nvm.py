"""VisualSFM's files (NVM_V3, ccwu.me/vsfm/doc.html#nvm): cameras, points, and where they are seen."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.errors import InputError
from dust3r_sfm.types import KnownCamera, Size


@dataclass(frozen=True, kw_only=True)
class NvmPoint:
    """A point: position, colour, and its observations.

    Attributes:
        xyz: in the world.
        colour: red, green, blue, 0 to 255.
        image: index of each observation's image.
        xy: of each observation, pixels from the middle of the image.
    """

    xyz: Float64[np.ndarray, "3"]
    colour: tuple[int, int, int]
    image: Int64[np.ndarray, " k"]
    xy: Float64[np.ndarray, "k 2"]


@dataclass(frozen=True, kw_only=True)
class Nvm:
    """The first model of a file.

    Attributes:
        names: of the images.
        focal, distortion: of their cameras.
        points: of the model.
    """

    names: tuple[str, ...]
    focal: tuple[float, ...]
    distortion: tuple[float, ...]
    points: tuple[NvmPoint, ...]


def read_nvm(path: Path) -> Nvm:
    """Read the cameras and points of the first model of a file.

    Raises:
        InputError: the file is missing, cut short, or not of this format: the sentence names the line.
    """
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            lines = enumerate(file, start=1)
            full = ((number, line.split()) for number, line in lines if line.strip())
            number, (version, *_) = next(full)
            if version != "NVM_V3":
                raise ValueError
            number, (count,) = next(full)
            images = []
            for number, (name, focal, *_pose, k, _) in islice(full, int(count)):  # noqa: B007
                images.append((name, float(focal), float(k)))
            number, (count,) = next(full)
            points = []
            for number, words in islice(full, int(count)):  # noqa: B007
                points.append(_point(words, len(images)))
            if len(points) < int(count):
                raise ValueError
    except OSError as error:
        raise InputError(f"{path} is missing; unpack the scene again.") from error
    except (ValueError, StopIteration) as error:
        raise InputError(
            f"{path} is not a whole NVM_V3 file (it ends or is damaged at line {number}); unpack the scene again."
        ) from error
    names, focals, distortions = zip(*images, strict=True)
    return Nvm(names=names, focal=focals, distortion=distortions, points=tuple(points))


def nvm_camera(focal: float, distortion: float, size: Size) -> KnownCamera:
    """The camera of an image: VisualSFM undistorts by 1 + k r², COLMAP's RADIAL distorts by the inverse's series."""
    width, height = size
    params = (focal, width / 2, height / 2, -distortion, 3 * distortion**2)
    return KnownCamera(model="RADIAL", size=size, params=params)


def _point(words: list[str], num_images: int) -> NvmPoint:
    """Read X Y Z R G B, the number of observations, and for each image, feature, x, y."""
    values = np.array(words, np.float64)
    seen = values[7:].reshape(int(values[6]), 4)
    image = seen[:, 0].astype(np.int64)
    if len(image) and not 0 <= image.min() <= image.max() < num_images:
        raise ValueError
    red, green, blue = (int(value) for value in values[3:6])
    return NvmPoint(xyz=values[:3], colour=(red, green, blue), image=image, xy=seen[:, 2:])
