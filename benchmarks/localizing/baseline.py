"""The hloc-like baseline of the localization benchmark, made of pycolmap's parts only.

COLMAP's SIFT at its default options, mutual nearest neighbours with the ratio test at 0.8, and pycolmap's PnP at hloc's
12 pixels (more for pictures above 1024 pixels, as for ours), on the images that ours retrieved, with the same points.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dust3r_sfm.images.load import load_original
from dust3r_sfm.localization.open_map import LocalizationMap
from dust3r_sfm.localization.pose import default_max_error, query_camera
from dust3r_sfm.localization.queries import Query
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import View

RATIO = 0.8


class Baseline:
    """Localizes queries in a map; keypoints of its images are kept.

    Args:
        opened: the map, of which retrieval and points are used.
    """

    def __init__(self, opened: LocalizationMap) -> None:
        options = pycolmap.FeatureExtractionOptions()
        options.use_gpu, options.num_threads = False, 1
        self._extractor = pycolmap.FeatureExtractor.create(options)
        self._opened = opened
        self._found: dict[Path, tuple[np.ndarray, np.ndarray]] = {}
        self._matches: dict[tuple[Path, int], tuple[np.ndarray, np.ndarray]] = {}

    def localize(self, queries: Sequence[Query]) -> dict[str, np.ndarray]:
        """Poses (camera from world) by name, of the queries that get one."""
        views = [query.view for query in queries if query.view is not None]
        ranked = self._opened.retrieval.rank(views, self._opened.options.num_loc)
        self._opened.store.forget_queries()
        poses = {}
        for query, view, images in zip(queries, views, ranked, strict=True):
            pose = self._pose(query, view, images)
            if pose is not None:
                poses[query.name] = pose
        return poses

    def _pose(self, query: Query, view: View, images: Sequence[int]) -> np.ndarray | None:
        pairs = [self._match(view, image) for image in images]
        xy = np.concatenate([xy for xy, _ in pairs])
        xyz = np.concatenate([self._opened.lift(image, other) for image, (_, other) in zip(images, pairs, strict=True)])
        known = np.isfinite(xyz).all(axis=1)
        camera, focal = query_camera(view, query.camera)
        estimation = pycolmap.AbsolutePoseEstimationOptions()
        estimation.estimate_focal_length = focal != "known"
        estimation.ransac.max_error, estimation.ransac.random_seed = default_max_error(view), 0
        refinement = pycolmap.AbsolutePoseRefinementOptions()
        refinement.refine_focal_length = focal != "known"
        found = pycolmap.estimate_and_refine_absolute_pose(xy[known], xyz[known], camera, estimation, refinement)
        return None if found is None else np.asarray(found["cam_from_world"].matrix())

    def _match(self, view: View, image: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions in the query and in an image of the map; a pair is matched once."""
        key = view.path, image
        if key not in self._matches:
            self._matches[key] = self._match_anew(view, image)
        return self._matches[key]

    def _match_anew(self, view: View, image: int) -> tuple[np.ndarray, np.ndarray]:
        (xy1, descriptors1), (xy2, descriptors2) = (
            self._keypoints(each) for each in (view, self._opened.reference.views[image])
        )
        cosine = descriptors1 @ descriptors2.T
        rows, nearest = np.arange(len(cosine)), cosine.argmax(axis=1)
        mutual = cosine.argmax(axis=0)[nearest] == rows
        first = cosine[rows, nearest]
        cosine[rows, nearest] = -1.0
        angle, second = (np.arccos(np.clip(values, -1, 1)) for values in (first, cosine.max(axis=1)))
        kept = mutual & (angle < RATIO * second)
        return xy1[kept], xy2[nearest[kept]]

    def _keypoints(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        if view.path not in self._found:
            grey = cv2.cvtColor(load_original(view), cv2.COLOR_RGB2GRAY)
            keypoints, descriptors = self._extractor.extract(pycolmap.Bitmap.from_array(grey))
            xy = np.array([[keypoint.x, keypoint.y] for keypoint in keypoints], np.float64)
            values = np.asarray(descriptors.data, np.float32)
            self._found[view.path] = xy, values / np.linalg.norm(values, axis=1, keepdims=True)
        return self._found[view.path]
