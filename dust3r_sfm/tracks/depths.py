"""The depths of an alignment, looked up by raw pixels."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from dust3r_sfm.geometry.grid import network_from_raw, raw_per_network
from dust3r_sfm.types import Scene


@dataclass(frozen=True, kw_only=True)
class AlignedDepths:
    """Depth of every pixel of every image's network grid.

    Attributes:
        depths: per image, z in its camera's frame, world units; 0 where unknown.
        confidences: per image, confidence of each depth.
        network_from_image: maps from raw to network pixels (n, 3, 3).
    """

    depths: tuple[Float32[np.ndarray, "_ _"], ...]
    confidences: tuple[Float32[np.ndarray, "_ _"], ...]
    network_from_image: Float64[np.ndarray, "n 3 3"]

    @staticmethod
    def of(scene: Scene) -> "AlignedDepths":
        """The depths of a scene."""
        return AlignedDepths(
            depths=scene.depths, confidences=scene.confidences, network_from_image=scene.network_from_image
        )

    @cached_property
    def raw_per_network(self) -> Float64[np.ndarray, " n"]:
        """Raw pixels along a network pixel of each image."""
        return raw_per_network(self.network_from_image)

    def at(self, index: int, xy: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, " k"]:
        """Depth at raw pixels of an image, 0 where unknown; those outside the network grid get that of its border."""
        row, column = self._cells(index, xy)
        depth: Float64[np.ndarray, " k"] = self.depths[index][row, column].astype(np.float64)
        return depth

    def covers(self, index: int, xy: Float64[np.ndarray, "k 2"]) -> Bool[np.ndarray, " k"]:
        """Whether raw pixels of an image are on its network grid, which may be a crop."""
        network = network_from_raw(self.network_from_image[index], xy)
        inside: Bool[np.ndarray, " k"] = np.all((network >= 0) & (network < self.depths[index].shape[::-1]), axis=1)
        return inside

    def of_observations(
        self, image_of: Int64[np.ndarray, " o"], xy: Float64[np.ndarray, "o 2"]
    ) -> tuple[Float64[np.ndarray, " o"], Float64[np.ndarray, " o"]]:
        """Depth and confidence at raw pixels of several images, as in `at`."""
        depth, confidence = np.zeros(len(xy)), np.zeros(len(xy))
        for index in np.unique(image_of).tolist():
            seen = np.flatnonzero(image_of == index)
            cells = self._cells(index, xy[seen])
            depth[seen], confidence[seen] = self.depths[index][cells], self.confidences[index][cells]
        return depth, confidence

    def forgotten(self) -> "AlignedDepths":
        """As if no depth were known."""
        return replace(self, depths=tuple(np.zeros_like(depth) for depth in self.depths))

    def _cells(
        self, index: int, xy: Float64[np.ndarray, "k 2"]
    ) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
        height, width = self.depths[index].shape
        column, row = network_from_raw(self.network_from_image[index], xy).astype(np.int64).T
        return np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
