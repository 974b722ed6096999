"""Between the raw pixels of a file and the upright network grid of its picture.

A map `network_from_image` resizes, crops and turns by quarters about the optical axis; so a raw camera and an upright
one differ by such a turn, and depths are the same in both.
"""

import numpy as np
from jaxtyping import Float64


def raw_from_upright(network_from_image: Float64[np.ndarray, "*b 3 3"]) -> Float64[np.ndarray, "*b 3 3"]:
    """Rotations about the optical axis that undo the upright turns inside `network_from_image`; exactly 0, 1 and -1."""
    x_axis = network_from_image[..., :2, 0]
    angles = np.round(np.arctan2(x_axis[..., 1], x_axis[..., 0]) / (np.pi / 2)) * (np.pi / 2)
    cosine, sine = np.round(np.cos(angles)), np.round(np.sin(angles))
    turns = np.zeros(network_from_image.shape)
    turns[..., 0, 0], turns[..., 0, 1], turns[..., 1, 0], turns[..., 1, 1] = cosine, sine, -sine, cosine
    turns[..., 2, 2] = 1.0
    return turns


def raw_intrinsics(
    network_from_image: Float64[np.ndarray, "*b 3 3"], intrinsics: Float64[np.ndarray, "*b 3 3"]
) -> Float64[np.ndarray, "*b 3 3"]:
    """Pinhole matrices in raw pixels of those in network pixels.

    fx and fy differ by no more than the rounding of the network grid's sides.
    """
    upright_from_raw = np.swapaxes(raw_from_upright(network_from_image), -1, -2)
    matrices: Float64[np.ndarray, "*b 3 3"] = np.linalg.inv(network_from_image) @ intrinsics @ upright_from_raw
    return matrices


def network_from_raw(
    network_from_image: Float64[np.ndarray, "3 3"], xy: Float64[np.ndarray, "*k 2"]
) -> Float64[np.ndarray, "*k 2"]:
    """Positions on the network grid of raw pixels of one image."""
    network: Float64[np.ndarray, "*k 2"] = xy @ network_from_image[:2, :2].T + network_from_image[:2, 2]
    return network


def raw_from_network(
    network_from_image: Float64[np.ndarray, "3 3"], xy: Float64[np.ndarray, "*k 2"]
) -> Float64[np.ndarray, "*k 2"]:
    """Raw pixels of positions on the network grid of one image."""
    return network_from_raw(np.linalg.inv(network_from_image), xy)


def raw_per_network(network_from_image: Float64[np.ndarray, "*b 3 3"]) -> Float64[np.ndarray, "*b"]:
    """Raw pixels along a network pixel, the mean of both axes."""
    return np.asarray(1.0 / np.sqrt(np.abs(np.linalg.det(network_from_image[..., :2, :2]))))
