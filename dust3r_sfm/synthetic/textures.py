"""Pictures for surfaces: stone, brick, wood, plaster, posters. All colours 0 to 1, nothing repeats."""

import cv2
import numpy as np
from jaxtyping import Float32, Int32
from numpy.random import Generator

from dust3r_sfm.types import Size

Picture = Float32[np.ndarray, "_ _ 3"]
Field = Float32[np.ndarray, "_ _"]
_LETTERS = list("ABDEFGHJKLMNOPRSTUVXYZabcdefghkmnoprstuvxyz234567890&!?")
STONES = (
    ((0.86, 0.84, 0.80), (0.62, 0.60, 0.60), (0.28, 0.27, 0.30)),
    ((0.25, 0.42, 0.33), (0.55, 0.66, 0.52), (0.10, 0.17, 0.15)),
    ((0.55, 0.22, 0.18), (0.80, 0.55, 0.44), (0.24, 0.09, 0.10)),
    ((0.18, 0.28, 0.55), (0.45, 0.58, 0.74), (0.85, 0.70, 0.35)),
    ((0.85, 0.70, 0.45), (0.66, 0.46, 0.26), (0.95, 0.90, 0.78)),
    ((0.80, 0.62, 0.20), (0.48, 0.30, 0.12), (0.18, 0.14, 0.12)),
)
"""Kinds of marble: ground, veins and spots."""


def noise(rng: Generator, size: Size, coarsest: int = 256, stretch: float = 1.0) -> Field:
    """Return a field of unit variance with detail at every scale from `coarsest` to 2 pixels."""
    field = np.zeros((1, 1), np.float32)
    cell = coarsest
    while cell >= 2:
        layer_size = (max(2, int(size[0] / (cell * stretch))), max(2, int(size[1] / cell)))
        field = cv2.resize(field, layer_size, interpolation=cv2.INTER_CUBIC)
        field += cell**0.45 * rng.standard_normal(field.shape, np.float32)
        cell //= 2
    field = cv2.resize(field, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray((field - field.mean()) / field.std())


def slabs(rng: Generator, size: Size, cell: int) -> Picture:
    """Irregular stone slabs, each of its own tone, with dark joints."""
    labels = _voronoi(rng, size, cell)
    tone = rng.uniform(0.42, 0.80, (labels.max() + 1, 1)) * (1 + 0.05 * rng.standard_normal((labels.max() + 1, 3)))
    picture = tone.astype(np.float32)[labels]
    picture *= (1 + 0.13 * noise(rng, size, coarsest=cell))[..., None]
    return _darken(picture, _edges(labels, width=max(2, cell // 28)), 0.35)


def bricks(rng: Generator, size: Size, course: int) -> Picture:
    """Courses of bricks of uneven length and colour in light mortar."""
    width, height = size
    base = np.array(rng.choice([(0.66, 0.36, 0.27), (0.72, 0.55, 0.40), (0.55, 0.33, 0.30)], axis=0))
    labels = np.zeros((height, width), np.int32)
    colours = [base]
    for top in range(0, height, course):
        left = -int(rng.integers(0, 2 * course))
        while left < width:
            length = int(course * rng.uniform(1.8, 3.2))
            labels[top : top + course, max(left, 0) : max(left + length, 0)] = len(colours)
            colours.append(base * rng.uniform(0.6, 1.3) * (1 + 0.08 * rng.standard_normal(3)))
            left += length
    picture = np.array(colours, np.float32)[labels]
    picture *= (1 + 0.14 * noise(rng, size, coarsest=64))[..., None]
    mortar = _edges(labels, width=max(2, course // 8))[..., None]
    speckle = (0.68 * (1 + 0.1 * noise(rng, size, coarsest=16)))[..., None] * np.array([1, 0.97, 0.9], np.float32)
    return np.asarray(picture * (1 - mortar) + speckle * mortar)


def planks(rng: Generator, size: Size, board: int, base: tuple[float, float, float] = (0.62, 0.45, 0.28)) -> Picture:
    """Boards side by side with grain, knots of colour and nails."""
    width, height = size
    labels = np.broadcast_to((np.arange(height, dtype=np.int32) // board)[:, None], (height, width)).copy()
    tones = rng.uniform(0.65, 1.25, (labels.max() + 1, 1)) * np.array(base) * (1 + 0.05 * rng.standard_normal(3))
    picture = tones.astype(np.float32)[labels]
    picture *= (1 + 0.16 * noise(rng, size, coarsest=board, stretch=10.0) + 0.06 * noise(rng, size, coarsest=32))[
        ..., None
    ]
    for row in range(board // 2, height, board):
        for column in rng.integers(4, max(5, width - 4), max(2, width // 120)):
            cv2.circle(
                picture, (int(column), row + int(rng.integers(-board // 4, board // 4 + 1))), 3, (0.15, 0.13, 0.12), -1
            )
    return _darken(picture, _edges(labels, width=max(2, board // 14)), 0.3)


def plaster(rng: Generator, size: Size) -> Picture:
    """Old painted plaster: stains, patches of an earlier coat, fine cracks."""
    tones = [(0.86, 0.76, 0.58), (0.80, 0.66, 0.58), (0.74, 0.78, 0.70), (0.84, 0.80, 0.72)]
    coat, under = (np.array(tones[i], np.float32) for i in rng.choice(len(tones), 2, replace=False))
    peeled = _soft_step(noise(rng, size, coarsest=256), 1.1)[..., None]
    picture = coat * (1 - peeled) + 0.75 * under * peeled
    picture = picture * (1 + 0.09 * noise(rng, size, coarsest=512) + 0.07 * noise(rng, size, coarsest=16))[..., None]
    return _darken(picture, _edges(_voronoi(rng, size, 170), width=2) * (noise(rng, size, 128) > 0.4), 0.5)


def marble(rng: Generator, size: Size, stone: int) -> Picture:
    """Veined and spotted stone; `stone` is an index into STONES."""
    ground, vein, spot = (np.array(colour, np.float32) for colour in STONES[stone])
    veins = 0.5 + 0.5 * np.sin(5 * noise(rng, size, coarsest=256))
    spots = _soft_step(noise(rng, size, coarsest=64), 0.9)[..., None]
    picture = ground + (vein - ground) * veins[..., None]
    grain = 1 + 0.11 * noise(rng, size, coarsest=16)
    return np.asarray((picture * (1 - spots) + spot * spots) * grain[..., None])


def poster(rng: Generator, size: Size) -> Picture:
    """A printed sheet: flat shapes in bright colours, lines, and words."""
    width, height = size
    # OpenCV draws words and smooth outlines on 8-bit pictures only.
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = rng.integers(60, 250, 3) if rng.uniform() < 0.5 else rng.integers(200, 250, 3)
    for _ in range(26):
        colour = rng.integers(12, 243, 3).tolist()
        x, y = rng.integers(0, size).tolist()
        extent = int(min(size) * rng.uniform(0.04, 0.28)) + 2
        match int(rng.integers(0, 4)):
            case 0:
                cv2.circle(picture, (x, y), extent, colour, int(rng.choice([-1, 3, 7])), cv2.LINE_AA)
            case 1:
                cv2.rectangle(picture, (x, y), (x + extent, y + int(extent * rng.uniform(0.3, 1.6))), colour, -1)
            case 2:
                corners = np.array([x, y]) + rng.integers(-extent, extent, (3, 2))
                cv2.fillPoly(picture, [corners.astype(np.int32)], colour, cv2.LINE_AA)
            case _:
                end = (np.array([x, y]) + rng.integers(-2 * extent, 2 * extent, 2)).tolist()
                cv2.line(picture, (x, y), end, colour, int(rng.integers(2, 8)), cv2.LINE_AA)
    for length in rng.integers(3, 8, 3):
        word = "".join(rng.choice(_LETTERS, length))
        scale = width / 22 / length * rng.uniform(0.5, 0.95)
        place = (int(width * rng.uniform(0.03, 0.3)), int(height * rng.uniform(0.12, 0.95)))
        dark, weight = rng.integers(0, 90, 3).tolist(), max(1, int(scale * 2.5))
        cv2.putText(picture, word, place, cv2.FONT_HERSHEY_DUPLEX, scale, dark, weight, cv2.LINE_AA)
    cv2.rectangle(picture, (0, 0), (width - 1, height - 1), (50, 45, 40), max(4, min(size) // 40))
    return picture / np.float32(255) * (1 + 0.04 * noise(rng, size, coarsest=128))[..., None]


def paste(picture: Picture, patch: Picture, left: int, top: int) -> None:
    """Put a patch into a picture, in place; what hangs over the border is cut off."""
    bottom, right = min(picture.shape[0], top + patch.shape[0]), min(picture.shape[1], left + patch.shape[1])
    picture[top:bottom, left:right] = patch[: bottom - top, : right - left]


def seamless(picture: Picture) -> Picture:
    """Blend the right end into the left one, for surfaces that close on themselves."""
    width = picture.shape[1] // 9
    ramp = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    joined = picture[:, width:].copy()
    joined[:, -width:] = joined[:, -width:] * (1 - ramp) + picture[:, :width] * ramp
    return joined


def _voronoi(rng: Generator, size: Size, cell: int) -> Int32[np.ndarray, "h w"]:
    """Return which of the random seeds, about `cell` pixels apart, is nearest to each pixel."""
    width, height = size
    columns, rows = np.meshgrid(np.arange(cell // 2, width, cell), np.arange(cell // 2, height, cell))
    seeds = np.stack([rows, columns], axis=-1).reshape(-1, 2) + rng.integers(
        -cell * 2 // 5, cell * 2 // 5 + 1, (rows.size, 2)
    )
    free = np.ones((height, width), np.uint8)
    free[np.clip(seeds[:, 0], 0, height - 1), np.clip(seeds[:, 1], 0, width - 1)] = 0
    labels = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    return np.asarray(labels, np.int32)


def _edges(labels: Int32[np.ndarray, "h w"], width: int) -> Field:
    """Return soft lines of about `width` pixels between areas of different labels."""
    values = labels.astype(np.float32)
    kernel = np.ones((width + 1, width + 1), np.uint8)
    lines = (cv2.dilate(values, kernel) != cv2.erode(values, kernel)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(lines, (0, 0), 0.35 * width + 0.3), np.float32)


def _darken(picture: Picture, amount: Field, to: float) -> Picture:
    return picture * (1 - (1 - to) * amount)[..., None].astype(np.float32)


def _soft_step(field: Field, at: float) -> Field:
    return np.asarray(np.clip((field - at) * 6 + 0.5, 0, 1), np.float32)
