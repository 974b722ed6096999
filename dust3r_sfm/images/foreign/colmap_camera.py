"""COLMAP's cameras, and the gate that those of other programs pass: sizes and parameters that a camera can have."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dust3r_sfm.errors import InputError
from dust3r_sfm.types import KnownCamera

MAX_SIDE_RAW_PX = 2**31 - 1
"""Largest side of a picture: what image libraries count in. Chosen by hand."""
_LARGEST_RAW_PX = 1e9
"""No parameter of a lens is larger, be it in pixels or a coefficient. Chosen by hand."""
_SHORTEST_OF_SIDE = 1e-4
"""No focal length is shorter than this share of the longer side, not even of a fisheye. Chosen by hand."""


def colmap_camera(camera: KnownCamera) -> Any:
    """The `pycolmap.Camera`, with exactly these parameters."""
    from dust3r_sfm.system._pycolmap import pycolmap

    width, height = camera.size
    made = pycolmap.Camera(model=camera.model, width=width, height=height, params=list(camera.params))
    made.has_prior_focal_length = True
    return made


def known_camera(camera: Any) -> KnownCamera:
    """The value of a `pycolmap.Camera`."""
    return KnownCamera(
        model=camera.model.name, size=(int(camera.width), int(camera.height)), params=tuple(map(float, camera.params))
    )


def is_model(name: str) -> bool:
    """Whether COLMAP has a camera model of this name."""
    from dust3r_sfm.system._pycolmap import pycolmap

    return name in pycolmap.CameraModelId.__members__ and name != "INVALID"


def is_possible(camera: KnownCamera) -> bool:
    """Whether a camera can be: a model of COLMAP's, sizes and focal lengths above 0, parameters finite and complete."""
    if not is_model(camera.model) or not all(1 <= side <= MAX_SIDE_RAW_PX for side in camera.size):
        return False
    if not all(abs(value) <= _LARGEST_RAW_PX for value in camera.params):  # not so of NaN either
        return False
    made = colmap_camera(camera)
    shortest = _SHORTEST_OF_SIDE * max(camera.size)
    return made.verify_params() and all(made.params[index] >= shortest for index in made.focal_length_idxs())


def read_camera(model: Any, size: Iterable[Any], params: Iterable[Any]) -> KnownCamera:
    """Make a camera of foreign words or numbers.

    Raises:
        ValueError: it is no camera that can be, or not a list of numbers at all.
    """
    try:
        width, height = (float(side) for side in size)
        if not (width.is_integer() and height.is_integer()):
            raise ValueError("sizes are whole numbers")
        camera = KnownCamera(model=str(model), size=(int(width), int(height)), params=tuple(map(float, params)))
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error
    if not is_possible(camera):
        raise ValueError(f"no {model} camera has {width:g} × {height:g} pixels and the parameters {camera.params}")
    return camera


def refuse_impossible(camera: KnownCamera, owner: str, source: str | Path) -> None:
    """Refuse a camera that cannot be.

    Args:
        camera: of another program.
        owner: whose it is, for the sentence: "camera 3", or the name of a photograph.
        source: the file or folder that it is from, for sentences.

    Raises:
        InputError: sizes, parameters or focal lengths are none.
    """
    if not is_possible(camera):
        path = source if isinstance(source, Path) else None
        shown = ", ".join(f"{value:g}" for value in camera.params)
        if not is_model(camera.model):
            raise InputError(
                f"{source} has a camera of the model {camera.model} for {owner}, which COLMAP does not know; give one "
                "of COLMAP's.",
                path=path,
            )
        raise InputError(
            f"{source} has a {camera.model} camera of {camera.size[0]} × {camera.size[1]} pixels with the parameters "
            f"{shown} for {owner}, which no camera has; correct it.",
            path=path,
        )


def focal_of_angle(side: float, angle: float) -> float:
    """Focal length in pixels of a picture whose side is seen under an angle in radians.

    Raises:
        ValueError: there is no such angle.
    """
    if not 0 < angle < math.pi:
        raise ValueError(f"no camera has an angle of view of {angle:g}")
    return side / 2 / math.tan(angle / 2)
