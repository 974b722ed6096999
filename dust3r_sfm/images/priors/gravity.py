"""Which way is down in a photograph, as the camera's sensors wrote it."""

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.images.priors.xmp import number

_MAX_ROLL_DEGREES = 45.0
"""What is rolled further is a camera that was mounted otherwise than its angles say; chosen by hand."""


def gravity_of(tags: dict[str, str]) -> Float64[np.ndarray, " 3"] | None:
    """The downward direction in the frame of the upright camera (x right, y down, z forward).

    Args:
        tags: of XMP: `drone-dji:GimbalPitchDegree` and `GimbalRollDegree`, or `GPano:PosePitchDegrees` and
            `PoseRollDegrees`. Pitch is positive upwards, -90 looks down; roll is positive clockwise.

    Returns:
        A direction of length 1; None where the pitch is not written or the camera lies on its side.
    """
    pitch = number(tags, "drone-dji:GimbalPitchDegree", "GPano:PosePitchDegrees")
    roll = number(tags, "drone-dji:GimbalRollDegree", "GPano:PoseRollDegrees") or 0.0
    if pitch is None or abs(pitch) > 90.0 or abs(roll) > _MAX_ROLL_DEGREES:
        return None
    p, r = np.radians([pitch, roll])
    return np.array([np.sin(r) * np.cos(p), np.cos(r) * np.cos(p), -np.sin(p)])
