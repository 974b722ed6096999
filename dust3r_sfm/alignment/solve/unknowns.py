"""Which unknowns there are, where they stand in the system, and how a step moves the placement."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.geometry.transforms import rotation_exp

TIED, FREE = math.inf, 0.0


@dataclass(frozen=True, kw_only=True)
class Parametrization:
    """What may move.

    Attributes:
        cameras: images with equal numbers share their intrinsics (n,).
        stiffness: what holds each edge's frame to its first camera: `TIED` (it is the camera's), `FREE` (it has a pose
            of its own, DUSt3R's objective), or the weight of a turn in radians and a move over the edge's depth, in
            units of the edge's own weight. In the last case the frame is that of the second pointmap; the first one
            stays in its camera's, which its rays fix anyway.
        known_poses: images whose poses stay (n,).
        known_intrinsics: images whose intrinsics stay (n,).
        free_principal: principal points move too.
        known_scales: edges keep their scale.
    """

    cameras: Int64[np.ndarray, " n"]
    stiffness: float = TIED
    known_poses: Bool[np.ndarray, " n"] | None = None
    known_intrinsics: Bool[np.ndarray, " n"] | None = None
    free_principal: bool = False
    known_scales: bool = False

    @property
    def tied(self) -> bool:
        """Edges have no pose of their own."""
        return self.stiffness == TIED


class Unknowns:
    """Numbers of the unknowns; -1 for what is known.

    Cameras turn and move in their own axes, about their own centres; edges move, turn and scale in the axes of their
    first camera and about its centre, on top of what that camera does.

    Attributes:
        poses: turn and move of each camera (n, 6).
        intrinsics: log focal length, and principal point where it is free, of each image (n, m).
        log_scales: of each edge (e,).
        edge_poses: turn and move of each edge's frame against its first camera (e, 6).
        size: number of unknowns.
    """

    def __init__(
        self, parametrization: Parametrization, edges: Int64[np.ndarray, "e 2"], active: Bool[np.ndarray, " e"]
    ) -> None:
        num_images, num_edges = len(parametrization.cameras), len(edges)
        self.edges, self.active, self.size = edges, active, 0
        self.tied, self.free = parametrization.tied, parametrization.stiffness == FREE
        known = np.zeros(num_images, bool)
        self.poses = self._number(~(known if parametrization.known_poses is None else parametrization.known_poses), 6)
        groups = np.unique(parametrization.cameras, return_inverse=True)[1]
        held = np.zeros(int(groups.max()) + 1, bool)
        held[groups[known if parametrization.known_intrinsics is None else parametrization.known_intrinsics]] = True
        self.intrinsics = self._number(~held, 3 if parametrization.free_principal else 1)[groups]
        self.log_scales = self._number(active & (not parametrization.known_scales), 1)[:, 0]
        self.edge_poses = self._number(active & (not parametrization.tied), 6)
        self._local: dict[int, tuple[Int64[np.ndarray, " c"], Int64[np.ndarray, " c"]]] = {}
        assert len(self.edge_poses) == num_edges

    def _number(self, which: Bool[np.ndarray, " k"], width: int) -> Int64[np.ndarray, "k w"]:
        numbers = np.full((len(which), width), -1, np.int64)
        numbers[which] = self.size + np.arange(int(which.sum()) * width).reshape(-1, width)
        self.size += int(which.sum()) * width
        return numbers

    def local(
        self, index: int, edges: Int64[np.ndarray, " l"], num_own: int
    ) -> tuple[Int64[np.ndarray, " c"], Int64[np.ndarray, " c"]]:
        """Return the two unknowns, or -1, whose sum each column of an image's equations stands for.

        The columns are those of its own pointmaps, of those in other frames, its pose and its intrinsics.
        """
        if index not in self._local:
            mine, theirs = edges[:num_own], edges[num_own:]
            cameras, scales = self.poses[self.edges[theirs, 0]], self.log_scales[theirs, None]
            rest = np.concatenate([self.poses[index], self.intrinsics[index]])
            nothing, no_scales = np.full(len(rest), -1), np.full((len(theirs), 1), -1)
            first = [self.log_scales[mine]]
            if self.free:
                first = [np.hstack([self.edge_poses[mine], self.log_scales[mine, None]]).ravel()]
            second = [np.full(len(first[0]), -1)]
            if self.tied:
                first, second = [*first, np.hstack([cameras, scales]).ravel()], [*second, np.full(7 * len(theirs), -1)]
            else:
                first.append(np.hstack([self.edge_poses[theirs], scales]).ravel())
                second.append(np.hstack([cameras, no_scales]).ravel())
            self._local[index] = np.concatenate([*first, rest]), np.concatenate([*second, nothing])
        return self._local[index]

    def limit(self, step: Float64[np.ndarray, " u"], largest: float) -> Float64[np.ndarray, " u"]:
        """Shorten a step so that nothing turns, in radians, or stretches, in logs, by more than `largest`."""
        bounded = np.concatenate(
            [self.poses[:, :3].ravel(), self.edge_poses[:, :3].ravel(), self.log_scales, self.intrinsics[:, 0]]
        )
        return step / max(1.0, float(np.abs(step[bounded[bounded >= 0]]).max(initial=0)) / largest)


def edge_in_camera(
    placement: Placement, edges: Int64[np.ndarray, "e 2"]
) -> tuple[Float64[np.ndarray, "e 3 3"], Float64[np.ndarray, "e 3"]]:
    """Return rotation and origin of each edge's frame in the axes of its first camera."""
    to_camera = np.swapaxes(placement.rotations[edges[:, 0]], 1, 2)
    offset = placement.edge_centres - placement.centres[edges[:, 0]]
    return to_camera @ placement.edge_rotations, np.einsum("eij,ej->ei", to_camera, offset)


def moved(placement: Placement, step: Float64[np.ndarray, " u"], unknowns: Unknowns) -> Placement:
    """Apply a step, and undo a common change of all scales, which would lower the cost without telling anything."""
    values = np.append(step, 0.0)
    pose, edge_pose = values[unknowns.poses], values[unknowns.edge_poses]
    stretch = values[unknowns.log_scales]
    rotations = np.where(
        (unknowns.poses[:, :1] >= 0)[:, :, None],
        placement.rotations @ rotation_exp(pose[:, :3]),
        placement.rotations,
    )
    centres = placement.centres + np.einsum("nij,nj->ni", placement.rotations, pose[:, 3:])
    sources = unknowns.edges[:, 0]
    if (unknowns.edge_poses >= 0).any():
        turn, origin = edge_in_camera(placement, unknowns.edges)
        more = rotation_exp(edge_pose[:, :3])
        origin = np.exp(stretch)[:, None] * np.einsum("eij,ej->ei", more, origin) + edge_pose[:, 3:]
        edge_rotations = rotations[sources] @ (more @ turn)
        edge_centres = centres[sources] + np.einsum("eij,ej->ei", rotations[sources], origin)
    else:
        edge_rotations, edge_centres = rotations[sources], centres[sources]
    change = values[unknowns.intrinsics]
    focals = placement.focals * np.exp(change[:, 0])
    principal = placement.principal
    if change.shape[1] == 3:
        principal = principal + change[:, 1:] * placement.focals[:, None]
    log_scales = placement.log_scales + stretch
    shift = 0.0
    used = unknowns.log_scales >= 0
    origin_of_all = np.zeros(3)
    if used.any() and num_known(unknowns) < 2:
        shift = float(stretch[used].mean())
        fixed = unknowns.poses[:, 0] < 0
        origin_of_all = centres[fixed][0] if fixed.any() else centres.mean(0)
    shrink = math.exp(-shift)
    return Placement(
        rotations=rotations,
        centres=np.where((unknowns.poses[:, :1] >= 0), origin_of_all + shrink * (centres - origin_of_all), centres),
        focals=focals,
        principal=principal,
        edge_rotations=edge_rotations,
        edge_centres=origin_of_all + shrink * (edge_centres - origin_of_all),
        log_scales=log_scales - shift,
        free=placement.free,
    )


def num_known(unknowns: Unknowns) -> int:
    """Return how many cameras' poses are known."""
    return int((unknowns.poses[:, 0] < 0).sum())


def scale_gauge(
    placement: Placement, unknowns: Unknowns
) -> tuple[Float64[np.ndarray, " u"], Float64[np.ndarray, " u"]] | None:
    """Return the change of all unknowns when the world grows, and the one whose product with a step must be 0.

    None where known poses or scales fix the size of the world.
    """
    used = unknowns.log_scales[unknowns.log_scales >= 0]
    if not len(used) or num_known(unknowns) > 1:
        return None
    grow, mean = np.zeros(unknowns.size), np.zeros(unknowns.size)
    fixed = unknowns.poses[:, 0] < 0
    origin = placement.centres[fixed][0] if fixed.any() else placement.centres.mean(0)
    local = np.einsum("nji,nj->ni", placement.rotations, placement.centres - origin)
    grow[unknowns.poses[~fixed, 3:]] = local[~fixed]
    grow[used] = mean[used] = 1.0
    return grow, mean
