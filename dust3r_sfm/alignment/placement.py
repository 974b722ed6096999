"""Where cameras and edges are while they are being aligned."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Cameras and edges in one frame.

    Attributes:
        rotations: world from camera (n, 3, 3).
        centres: camera centres (n, 3).
        focals: in network pixels (n,).
        principal: offset of the principal points from where they are assumed, network pixels (n, 2).
        edge_rotations, edge_centres: world from edge frame, without its scale (e, 3, 3) and (e, 3).
        log_scales: log-scale of each edge (e,).
        free: both pointmaps of an edge lie in its frame; otherwise the first one lies in its camera's.
    """

    rotations: Float64[np.ndarray, "n 3 3"]
    centres: Float64[np.ndarray, "n 3"]
    focals: Float64[np.ndarray, " n"]
    principal: Float64[np.ndarray, "n 2"]
    edge_rotations: Float64[np.ndarray, "e 3 3"]
    edge_centres: Float64[np.ndarray, "e 3"]
    log_scales: Float64[np.ndarray, " e"]
    free: bool = False

    def select(self, images: Bool[np.ndarray, " n"], edges: Bool[np.ndarray, " e"]) -> "Placement":
        """Keep some images and edges."""
        return Placement(
            rotations=self.rotations[images],
            centres=self.centres[images],
            focals=self.focals[images],
            principal=self.principal[images],
            edge_rotations=self.edge_rotations[edges],
            edge_centres=self.edge_centres[edges],
            log_scales=self.log_scales[edges],
            free=self.free,
        )
