"""Draw a COLMAP model, points and cameras seen from a corner above, as a PNG.

python docs/images/draw.py MODEL PICTURE.png [--yaw 30] [--pitch 35] [--width 1200]
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from dust3r_sfm.colmap.model import read_model
from dust3r_sfm.geometry.pinhole import project
from dust3r_sfm.geometry.transforms import apply, centres, invert


def main() -> None:
    """Draw one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--yaw", type=float, default=30.0)
    parser.add_argument("--pitch", type=float, default=35.0)
    parser.add_argument("--width", type=int, default=1200)
    arguments = parser.parse_args()

    model = read_model(arguments.model)
    xyz = np.array([point.xyz for point in model.points3D.values()])
    rgb = np.array([point.color for point in model.points3D.values()])
    images = sorted(model.images.values(), key=lambda image: image.name)
    cam_from_world = np.array([image.cam_from_world().matrix() for image in images])
    view_from_world = standpoint(xyz, cam_from_world, np.radians(arguments.yaw), np.radians(arguments.pitch))

    width, height = arguments.width, arguments.width * 9 // 16
    intrinsics = np.array([[1.1 * width, 0, width / 2], [0, 1.1 * width, height / 2], [0, 0, 1]])
    canvas = np.full((height, width, 3), 255, np.uint8)
    seen = apply(view_from_world, xyz)
    order = np.argsort(-seen[:, 2])
    for (x, y), depth, colour in zip(project(seen, intrinsics)[order], seen[order, 2], rgb[order], strict=True):
        if depth > 0 and 0 <= x < width and 0 <= y < height:
            cv2.circle(canvas, (int(x), int(y)), 2, [int(c) for c in colour[::-1]], -1, cv2.LINE_AA)
    size = 0.12 * np.median(np.linalg.norm(centres(cam_from_world) - np.median(xyz, axis=0), axis=1))
    for image, pose in zip(images, cam_from_world, strict=True):
        camera = model.cameras[image.camera_id]
        half = size * np.array([camera.width, camera.height]) / (2 * camera.mean_focal_length())
        corners = np.array([[0, 0, 0], *[[sx * half[0], sy * half[1], size] for sx, sy in SIGNS]])
        drawn = project(apply(view_from_world, apply(invert(pose), corners)), intrinsics).astype(int)
        for start, end in EDGES:
            cv2.line(canvas, drawn[start].tolist(), drawn[end].tolist(), (40, 40, 220), 1, cv2.LINE_AA)
    cv2.imwrite(str(arguments.picture), canvas)


SIGNS = ((-1, -1), (1, -1), (1, 1), (-1, 1))
EDGES = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1))


def standpoint(xyz: np.ndarray, cam_from_world: np.ndarray, yaw: float, pitch: float) -> np.ndarray:
    """A camera (3, 4) that looks at points and cameras from behind and above the cameras."""
    target = np.median(xyz, axis=0)
    eyes = centres(cam_from_world)
    up = -cam_from_world[:, 1, :3].mean(axis=0)
    up /= np.linalg.norm(up)
    back = eyes.mean(axis=0) - target
    back -= up * (back @ up)
    distance = 2.2 * np.percentile(np.linalg.norm(np.r_[xyz, eyes] - target, axis=1), 90)
    back /= np.linalg.norm(back)
    side = np.cross(up, back)
    level = np.cos(yaw) * back + np.sin(yaw) * side
    forward = -(np.cos(pitch) * level + np.sin(pitch) * up)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return np.c_[rotation, -rotation @ (target - distance * forward)]


if __name__ == "__main__":
    main()
