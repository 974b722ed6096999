"""What softly ties the frame of an edge's second pointmap to its first camera."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.solve.image_data import ImageData
from dust3r_sfm.alignment.solve.unknowns import Unknowns, edge_in_camera
from dust3r_sfm.geometry.transforms import rotation_log


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """What holds the unknowns where predictions say nothing: squares of turns and moves of edges, and of log focals.

    Attributes:
        turns: weight of each edge's turn against its first camera (e,).
        moves: weight of its move over its scale (e,).
    """

    turns: Float64[np.ndarray, " e"]
    moves: Float64[np.ndarray, " e"]

    def add(
        self,
        placement: Placement,
        unknowns: Unknowns,
        gradient: Float64[np.ndarray, " u"],
        diagonal: Float64[np.ndarray, " u"],
    ) -> float:
        """Add gradient and diagonal in place and return the cost."""
        which = unknowns.edge_poses[:, 0] >= 0
        turn, origin = edge_in_camera(placement, unknowns.edges)
        turn = rotation_log(turn[which])
        moves = self.moves[which] * np.exp(-2 * placement.log_scales[which])
        numbers = unknowns.edge_poses[which]
        gradient[numbers[:, :3]] += self.turns[which, None] * turn
        gradient[numbers[:, 3:]] += moves[:, None] * origin[which]
        diagonal[numbers[:, :3]] += self.turns[which, None]
        diagonal[numbers[:, 3:]] += moves[:, None]
        cost = self.turns[which] @ (turn**2).sum(1) + moves @ (origin[which] ** 2).sum(1)
        return float(cost) / 2


def edge_penalty(images: list[ImageData], num_edges: int, stiffness: float) -> Penalty:
    """Hold edges to their first cameras by `stiffness` times what their predictions weigh."""
    mass, depth, known = np.zeros(num_edges), np.zeros(num_edges), np.zeros(num_edges)
    for image in images:
        weights = image.weights.sum(1, dtype=np.float64)
        own, foreign = image.edges[: image.num_own], image.edges[image.num_own :]
        mass[foreign] = weights[image.num_own :]
        depth[own] = (image.weights[: image.num_own] * image.points[image.rows[: image.num_own], 2]).sum(
            1, dtype=np.float64
        )
        known[own] = weights[: image.num_own]
    depth = np.where(depth > 0, depth / np.maximum(known, 1e-300), 1)
    return Penalty(turns=stiffness * mass, moves=stiffness * mass / depth**2)
