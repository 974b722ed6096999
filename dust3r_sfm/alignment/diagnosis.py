"""What holds an aligned scene together, and where it is weak: per pair, per image, and in sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.geometry.transforms import centres
from dust3r_sfm.pairs.graph import bridges, component_labels
from dust3r_sfm.types import PairGraph, Scene

MAX_NUM_SENTENCES = 5
"""Places of one kind that are named one by one; chosen by hand."""
_MAX_NUM_NAMES = 3
"""Names in a sentence that stands for several places; chosen by hand."""
_LOOSE_WEIGHT = 0.5
"""An image whose pairs carry less than this weight together is held by hardly anything; chosen by hand."""
_UNCERTAIN_OF_DISTANCE = 0.1
"""Uncertainty of a camera's position over the distance to its nearest partner that deserves a sentence…"""
_UNCERTAIN_OF_USUAL = 3.0
"""…where it is so many times the usual one; both chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Figures of the pairs (p) and images (n) of a scene; both directions of a pair count as one.

    Attributes:
        names: of the images.
        registered: whether each image is placed (n,).
        pairs: image indices i < j of all pairs that were aligned (p, 2).
        weights: robust weight of each pair, the larger of its directions; 0: it contradicts the rest (p,).
        residuals: median point distance over depth, the smaller of its directions; inf where not aligned (p,).
        cycles: by how much its triangles do not close: rotation and direction of the baseline in degrees, log of its
            length (p, 3); NaN without a triangle.
        bridges: whether the model would fall apart without the pair (p,).
        degrees: pairs that hold each image (n,).
        weighted_degrees: the sum of their weights (n,).
        image_residuals: the median of their residuals (n,); NaN where nothing holds the image.
        weakest: the pair of smallest weight that holds each image (n,); -1 where nothing does.
        rotation_sigmas: standard deviation of each camera's rotation in degrees (n,); NaN where not known.
        position_sigmas: that of its position, over the distance to its nearest partner (n,); NaN where not known.
    """

    names: tuple[str, ...]
    registered: Bool[np.ndarray, " n"]
    pairs: Int64[np.ndarray, "p 2"]
    weights: Float64[np.ndarray, " p"]
    residuals: Float64[np.ndarray, " p"]
    cycles: Float64[np.ndarray, "p 3"]
    bridges: Bool[np.ndarray, " p"]
    degrees: Int64[np.ndarray, " n"]
    weighted_degrees: Float64[np.ndarray, " n"]
    image_residuals: Float64[np.ndarray, " n"]
    weakest: Int64[np.ndarray, " n"]
    rotation_sigmas: Float64[np.ndarray, " n"]
    position_sigmas: Float64[np.ndarray, " n"]

    def sentences(self) -> list[str]:
        """Say where the model is weak and what would help, the worst places first; nothing where all is well."""
        if self.registered.sum() < 3:
            return self._left_out()
        hanging, joints = [], []
        for p in np.flatnonzero(self.bridges):
            ends = [int(image) for image in self.pairs[p]]
            ends.sort(key=lambda image: self.degrees[image])
            first, second = (self.names[image] for image in ends)
            if self.degrees[ends[0]] == 1:
                hanging.append(f"{first} hangs on one pair ({second}): add a photograph between them.")
            else:
                sizes = sorted(self._sizes_without(int(p)))
                joints.append(
                    f"Only the pair {first} and {second} joins two parts of the model ({sizes[0]} and {sizes[1]} "
                    "photographs): add photographs between them."
                )
        loose = [
            f"{self.names[i]} is held by {self.degrees[i]} pairs that fit badly: add photographs that overlap it more."
            for i in np.flatnonzero((self.degrees > 1) & (self.weighted_degrees < _LOOSE_WEIGHT))
        ]
        known = self.position_sigmas[np.isfinite(self.position_sigmas)]
        # Along a chain all cameras drift together: only those that stand out can be helped by a photograph.
        limit = max(_UNCERTAIN_OF_DISTANCE, _UNCERTAIN_OF_USUAL * float(np.median(known))) if len(known) else np.inf
        uncertain = [
            f"The position of {self.names[i]} is uncertain by {100 * self.position_sigmas[i]:.0f} % of the distance to "
            "its neighbour: take photographs from farther to the side."
            for i in np.argsort(-np.nan_to_num(self.position_sigmas), kind="stable")
            if self.position_sigmas[i] > limit and self.degrees[i] > 1
        ]
        return [
            *_at_most(joints, "other pairs alone join two parts of the model"),
            *_at_most(hanging, "other photographs hang on one pair each"),
            *_at_most(loose, "other photographs are held by pairs that fit badly"),
            *_at_most(uncertain, "other photographs have uncertain positions"),
            *self._left_out(),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return all figures as JSON values; None where a figure is not known."""
        images = [
            {
                "name": name,
                "registered": bool(self.registered[i]),
                "pairs": int(self.degrees[i]),
                "weight": _figure(self.weighted_degrees[i]),
                "residual": _figure(self.image_residuals[i]),
                "weakest": self._other(i, int(self.weakest[i])),
                "rotation_sigma_degrees": _figure(self.rotation_sigmas[i]),
                "position_sigma": _figure(self.position_sigmas[i]),
            }
            for i, name in enumerate(self.names)
        ]
        pairs = [
            {
                "images": [self.names[i], self.names[j]],
                "weight": _figure(self.weights[p]),
                "residual": _figure(self.residuals[p]),
                "cycle_rotation_degrees": _figure(self.cycles[p, 0]),
                "cycle_direction_degrees": _figure(self.cycles[p, 1]),
                "cycle_log_scale": _figure(self.cycles[p, 2]),
                "bridge": bool(self.bridges[p]),
            }
            for p, (i, j) in enumerate(self.pairs.tolist())
        ]
        return {"images": images, "pairs": pairs}

    def _left_out(self) -> list[str]:
        rejected = np.flatnonzero((self.weights == 0) & self.registered[self.pairs].all(1))
        if not len(rejected):
            return []
        listed = ", ".join(" – ".join(self.names[i] for i in self.pairs[p]) for p in rejected[:_MAX_NUM_NAMES])
        more = " and others" if len(rejected) > _MAX_NUM_NAMES else ""
        verb = "contradicts the others and does" if len(rejected) == 1 else "contradict the others and do"
        return [f"{len(rejected)} of {len(self.pairs)} pairs {verb} not count: {listed}{more}."]

    def _sizes_without(self, pair: int) -> list[int]:
        """Images on the two sides of a bridge."""
        held = self.weights > 0
        held[pair] = False
        labels = component_labels(len(self.names), self.pairs[held])
        return [int((labels == labels[image]).sum()) for image in self.pairs[pair]]

    def _other(self, image: int, pair: int) -> str | None:
        """Name of the image at the other end of a pair."""
        if pair < 0:
            return None
        first, second = self.pairs[pair]
        return self.names[int(second if first == image else first)]


def diagnose(scene: Scene) -> Diagnosis:
    """Find what holds a scene together; its depth maps are not needed."""
    num = len(scene.names)
    pairs, of_edge = np.unique(np.sort(scene.edges, axis=1), axis=0, return_inverse=True)
    pairs, of_edge = pairs.reshape(-1, 2), of_edge.reshape(-1)
    weights, residuals = np.zeros(len(pairs)), np.full(len(pairs), np.inf)
    np.maximum.at(weights, of_edge, scene.edge_weights)
    np.minimum.at(residuals, of_edge, scene.edge_residuals)
    cycles = np.full((len(pairs), 3), np.nan)
    if scene.edge_cycles is not None:
        cycles[of_edge] = scene.edge_cycles

    held = np.flatnonzero(weights > 0)
    links = PairGraph(num_images=num, edges=pairs[held], weights=weights[held])
    cut = set(bridges(links))
    members, repeated = pairs[held].ravel(), np.repeat(held, 2)
    image_residuals, weakest = np.full(num, np.nan), np.full(num, -1, np.int64)
    order = np.argsort(members, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(members[order])) + 1):
        if len(group):
            of_image = repeated[group]
            image_residuals[members[group[0]]] = np.median(residuals[of_image])
            weakest[members[group[0]]] = of_image[np.argmin(weights[of_image])]
    rotation_sigmas, position_sigmas = _sigmas(scene, pairs[held])
    return Diagnosis(
        names=scene.names,
        registered=scene.registered,
        pairs=pairs,
        weights=weights,
        residuals=residuals,
        cycles=cycles,
        bridges=np.array([pair in cut for pair in map(tuple, pairs.tolist())], bool) & (weights > 0),
        degrees=np.bincount(members, minlength=num).astype(np.int64),
        weighted_degrees=np.bincount(members, weights[repeated], minlength=num).astype(np.float64),
        image_residuals=image_residuals,
        weakest=weakest,
        rotation_sigmas=rotation_sigmas,
        position_sigmas=position_sigmas,
    )


def _sigmas(
    scene: Scene, pairs: Int64[np.ndarray, "p 2"]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Root of the trace of the covariances: in degrees, and over the shortest baseline of each image."""
    num = len(scene.names)
    if scene.covariances is None:
        return np.full(num, np.nan), np.full(num, np.nan)
    positions, nearest = centres(scene.cam_from_world), np.full(num, np.inf)
    lengths = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    np.minimum.at(nearest, pairs.ravel(), np.repeat(lengths, 2))
    variances = np.diagonal(scene.covariances, axis1=1, axis2=2)
    turn, move = np.sqrt(variances[:, :3].sum(1)), np.sqrt(variances[:, 3:].sum(1))
    known = scene.registered & np.isfinite(nearest) & (nearest > 0)
    return np.where(scene.registered, np.degrees(turn), np.nan), np.where(
        known, move / np.where(known, nearest, 1), np.nan
    )


def _at_most(sentences: Sequence[str], others: str) -> list[str]:
    """Keep the first sentences and count the rest."""
    rest = len(sentences) - MAX_NUM_SENTENCES
    return [*sentences[:MAX_NUM_SENTENCES], *([f"{rest} {others}."] if rest > 0 else [])]


def _figure(value: float) -> float | None:
    """Round to four digits."""
    return float(f"{value:.4g}") if np.isfinite(value) else None
