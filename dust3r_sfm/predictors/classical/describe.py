"""Global descriptors for retrieval: the photographs' SIFT aggregated over a vocabulary of the set (VLAD)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from dust3r_sfm.predictors.classical.sift import Keypoints

_NUM_WORDS = 128
"""Words of the vocabulary. Chosen by hand."""

_NUM_TRAINING = 50_000
"""Descriptors that the vocabulary is made of. Chosen by hand."""

_MAX_PER_IMAGE = 2000
"""The strongest keypoints of a photograph that are aggregated. Chosen by hand."""

_NUM_ROUNDS = 15
"""Rounds of the clustering. Chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Visual words; descriptors of one vocabulary are comparable, whenever they were made.

    Attributes:
        words: centres of the clusters; none where there was too little to learn from, and all photographs look alike.
    """

    words: Float32[np.ndarray, "w 128"]

    @staticmethod
    def learn(keypoints: Sequence[Keypoints], seed: int) -> "Vocabulary":
        """Learn the words of photographs."""
        sets = [_features(each) for each in keypoints]
        pool = np.concatenate(sets) if sets else np.zeros((0, 128), np.float32)
        if len(pool) < _NUM_WORDS:
            return Vocabulary(words=np.zeros((0, 128), np.float32))
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(pool), min(len(pool), _NUM_TRAINING), replace=False)
        return Vocabulary(words=_cluster(pool[np.sort(chosen)], rng))

    def describe(self, keypoints: Sequence[Keypoints]) -> Float32[np.ndarray, "n d"]:
        """Describe photographs by the residuals of their descriptors to the words.

        VLAD (Jégou et al. 2010) with intra-normalization per word and power normalization (Arandjelović, Zisserman
        2013).
        """
        if not len(self.words) or not keypoints:
            return np.ones((len(keypoints), 1), np.float32)
        return np.stack([_aggregate(_features(each), self.words) for each in keypoints])


def describe_keypoints(keypoints: Sequence[Keypoints], seed: int) -> Float32[np.ndarray, "n d"]:
    """Describe the photographs of a set over a vocabulary of the set itself."""
    return Vocabulary.learn(keypoints, seed).describe(keypoints)


def _features(keypoints: Keypoints) -> Float32[np.ndarray, "n 128"]:
    features: Float32[np.ndarray, "n 128"] = keypoints.descriptors[:_MAX_PER_IMAGE].astype(np.float32) / 512
    return features


def _cluster(descriptors: Float32[np.ndarray, "n 128"], rng: np.random.Generator) -> Float32[np.ndarray, "w 128"]:
    """Lloyd's k-means from random descriptors; a word that loses all its members stays where it is."""
    words = descriptors[np.sort(rng.choice(len(descriptors), _NUM_WORDS, replace=False))]
    for _ in range(_NUM_ROUNDS):
        nearest = _nearest(descriptors, words)
        order = np.argsort(nearest, kind="stable")
        present, starts, counts = np.unique(nearest[order], return_index=True, return_counts=True)
        words[present] = np.add.reduceat(descriptors[order], starts) / counts[:, None]
    return words


def _nearest(descriptors: Float32[np.ndarray, "n 128"], words: Float32[np.ndarray, "w 128"]) -> Int64[np.ndarray, " n"]:
    return np.asarray((descriptors @ words.T - 0.5 * (words**2).sum(axis=1)).argmax(axis=1))


def _aggregate(
    descriptors: Float32[np.ndarray, "n 128"], words: Float32[np.ndarray, "w 128"]
) -> Float32[np.ndarray, " d"]:
    sums = np.zeros_like(words)
    if len(descriptors):
        nearest = _nearest(descriptors, words)
        np.add.at(sums, nearest, descriptors - words[nearest])
    sums = np.sign(sums) * np.sqrt(np.abs(sums))
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    flat: np.ndarray = (sums / max(float(np.linalg.norm(sums)), 1e-9)).ravel()
    return flat
