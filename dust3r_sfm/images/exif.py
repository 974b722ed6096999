"""What EXIF says about the camera: orientation, focal length, make and model, position."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image

from dust3r_sfm.types import Size

FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)
"""Of the film that the 35 mm equivalent refers to (CIPA DCG-001)."""

FOCAL_LIMITS_OF_LONG_SIDE = (0.2, 20.0)
"""A focal length outside these multiples of the longer side is a wrong tag or a wrong pose, not a lens. Chosen by
hand."""

_MM_OF_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}


@dataclass(frozen=True, kw_only=True)
class Exif:
    """The tags that matter here.

    Attributes:
        orientation: 1 to 8; 1 when absent or nonsense.
        focal: focal length in raw pixels of the file at hand, or None.
        camera: make, model, focal lengths and digital zoom as written, which tell cameras apart; None without any of
            them. Whether the 35 mm equivalent holds the zoom differs between makers, so it changes no focal length.
    """

    orientation: int = 1
    focal: float | None = None
    camera: tuple[str, str, float, float, float] | None = None


def read_exif(image: Image.Image, size: Size) -> Exif:
    """Read the tags of an open image.

    The 35 mm equivalent is preferred: it is relative to the picture's diagonal (CIPA DCG-001, and what COLMAP does), so
    it survives resizing. Otherwise the focal length in mm and the pixel density of the focal plane, which refers to
    the picture as taken, are brought to the size of the file.

    Args:
        image: an open image.
        size: (width, height) of its raw pixel grid.
    """
    try:
        tags = image.getexif()
        camera_tags = tags.get_ifd(ExifTags.IFD.Exif)
    except Exception:  # damaged EXIF blocks raise anything; the picture itself may be fine
        return Exif()
    orientation = tags.get(ExifTags.Base.Orientation)
    focal_mm = positive(camera_tags.get(ExifTags.Base.FocalLength))
    focal_35mm = positive(camera_tags.get(ExifTags.Base.FocalLengthIn35mmFilm))
    make, model = _text(tags.get(ExifTags.Base.Make)), _text(tags.get(ExifTags.Base.Model))
    zoom = positive(camera_tags.get(ExifTags.Base.DigitalZoomRatio))
    zoom = zoom if zoom > 1 else 0.0  # 0 and 1 both say that there is none
    focal = None
    if focal_35mm:
        focal = focal_35mm / FILM_DIAGONAL_MM * math.hypot(*size)
    elif focal_mm:
        focal = focal_mm * _pixels_per_mm(camera_tags, size)
    low, high = (limit * max(size) for limit in FOCAL_LIMITS_OF_LONG_SIDE)
    return Exif(
        orientation=orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1,
        focal=focal if focal is not None and low <= focal <= high else None,
        camera=(make, model, focal_mm, focal_35mm, zoom) if make or model or focal_mm or focal_35mm or zoom else None,
    )


def read_gps(image: Image.Image) -> tuple[float, float, float | None] | None:
    """Latitude and longitude in degrees and altitude in metres (None when not written) of an open image, or None."""
    try:
        tags = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
        latitude = _degrees(tags[ExifTags.GPS.GPSLatitude], tags[ExifTags.GPS.GPSLatitudeRef], "S")
        longitude = _degrees(tags[ExifTags.GPS.GPSLongitude], tags[ExifTags.GPS.GPSLongitudeRef], "W")
        altitude = float(tags[ExifTags.GPS.GPSAltitude]) if ExifTags.GPS.GPSAltitude in tags else None
    except Exception:  # damaged or half written blocks raise anything
        return None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180) or latitude == longitude == 0:
        return None  # cameras without a fix write zeros or nonsense
    if altitude is not None and tags.get(ExifTags.GPS.GPSAltitudeRef) in (1, b"\x01"):
        altitude = -altitude
    return latitude, longitude, altitude if altitude is not None and math.isfinite(altitude) else None


def exif_bytes(image: Image.Image) -> bytes:
    """The EXIF block of an open image, for another file of the same pixels; empty when there is none to be read."""
    try:
        return image.getexif().tobytes()
    except Exception:  # damaged blocks raise anything
        return b""


def _pixels_per_mm(camera_tags: dict[int, Any], size: Size) -> float:
    """Density of the file's pixels on the sensor; 0 when the tags do not say."""
    density = positive(camera_tags.get(ExifTags.Base.FocalPlaneXResolution))
    unit = camera_tags.get(ExifTags.Base.FocalPlaneResolutionUnit, 2)
    taken = (
        positive(camera_tags.get(ExifTags.Base.ExifImageWidth)),
        positive(camera_tags.get(ExifTags.Base.ExifImageHeight)),
    )
    return density / _MM_OF_UNIT.get(unit, math.inf) * max(size) / (max(taken) or max(size))


def _degrees(parts: Sequence[Any], hemisphere: object, negative: str) -> float:
    degrees, minutes, seconds = (float(part) for part in parts)
    value = degrees + minutes / 60 + seconds / 3600
    return -value if _text(hemisphere).upper() == negative else value


def positive(value: object) -> float:
    """A finite positive number, or 0 for everything else that stands in EXIF blocks."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


def _text(value: object) -> str:
    return value.strip("\0 ") if isinstance(value, str) else ""
