"""Draw a COLMAP model, points and cameras seen from a corner above, as a PNG.

python docs/images/draw.py MODEL PICTURE.png [--surface OUT/mesh.ply] [--yaw 30] [--pitch 35] [--width 1200]

With a surface its corners stand in the place of the points; a mesh of `densify` has them closer than pixels.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from dust3r_sfm.formats.ply import read_ply
from dust3r_sfm.geometry.pinhole import project
from dust3r_sfm.geometry.transforms import apply, centres
from dust3r_sfm.report.model import Model, read_drawn
from dust3r_sfm.report.sides import FRUSTUM_EDGES


def main() -> None:
    """Draw one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--surface", type=Path)
    parser.add_argument("--yaw", type=float, default=30.0)
    parser.add_argument("--pitch", type=float, default=35.0)
    parser.add_argument("--width", type=int, default=1200)
    arguments = parser.parse_args()

    model = read_drawn(arguments.model)
    view_from_world = standpoint(model, np.radians(arguments.yaw), np.radians(arguments.pitch))
    width, height = arguments.width, arguments.width * 9 // 16
    intrinsics = np.array([[1.1 * width, 0, width / 2], [0, 1.1 * width, height / 2], [0, 0, 1]])
    canvas = np.full((height, width, 3), 255, np.uint8)
    surface = read_ply(arguments.surface) if arguments.surface else model
    seen = apply(view_from_world, surface.xyz.astype(float))
    order = np.argsort(-seen[:, 2])
    for (x, y), depth, colour in zip(project(seen, intrinsics)[order], seen[order, 2], surface.rgb[order], strict=True):
        if depth > 0 and 0 <= x < width and 0 <= y < height:
            cv2.circle(canvas, (int(x), int(y)), 2, [int(c) for c in colour[::-1]], -1, cv2.LINE_AA)
    eyes = centres(model.cam_from_world)
    frusta = model.frusta(0.12 * float(np.median(np.linalg.norm(eyes - np.median(model.xyz, axis=0), axis=1))))
    for frustum in project(apply(view_from_world, frusta), intrinsics).astype(int):
        for start, end in FRUSTUM_EDGES:
            cv2.line(canvas, frustum[start].tolist(), frustum[end].tolist(), (40, 40, 220), 1, cv2.LINE_AA)
    cv2.imwrite(str(arguments.picture), canvas)


def standpoint(model: Model, yaw: float, pitch: float) -> np.ndarray:
    """A camera (3, 4) that looks at points and cameras from behind and above the cameras."""
    target = np.median(model.xyz, axis=0)
    side, ahead, up = model.level_from_world()
    around = np.r_[model.xyz, centres(model.cam_from_world)] - target
    distance = 2.2 * np.percentile(np.linalg.norm(around, axis=1), 90)
    level = np.sin(yaw) * side - np.cos(yaw) * ahead
    forward = -(np.cos(pitch) * level + np.sin(pitch) * up)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return np.c_[rotation, -rotation @ (target - distance * forward)]


if __name__ == "__main__":
    main()
