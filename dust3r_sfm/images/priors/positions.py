"""Where photographs were taken, as they say themselves (EXIF, XMP) or as a table says, in one local frame of metres."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from PIL import ExifTags, Image

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.exif import positive, read_gps
from dust3r_sfm.images.known_names import resolve
from dust3r_sfm.images.priors.table import Row, read_table
from dust3r_sfm.images.priors.xmp import number
from dust3r_sfm.types import Positions

_GPS_SIGMA_METRES = 3.0
"""Standard deviation of a GPS coordinate without a word on its accuracy; chosen by hand."""
_VERTICAL_OF_HORIZONTAL = 2.0
"""How much less sure heights are; chosen by hand."""
_UNKNOWN_HEIGHT_METRES = 1000.0
"""Standard deviation of a height that is not known; chosen by hand."""
_LARGE_METRES, _OFFSET_STEP_METRES = 10_000.0, 1000.0
"""Local coordinates beyond are moved by whole kilometres: single precision has millimetres up to there; chosen by
hand."""

_RTK_STD = ("drone-dji:RtkStdLat", "drone-dji:RtkStdLon", "drone-dji:RtkStdHgt")


@dataclass(frozen=True, kw_only=True)
class Fix:
    """One measured position.

    Attributes:
        xyz: latitude and longitude in degrees and height in metres, or local metres; NaN for a height not known.
        sigmas: standard deviations of east, north and up in metres (3,).
    """

    xyz: tuple[float, float, float]
    sigmas: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Fixes:
    """Measured positions of photographs.

    Attributes:
        of_image: by index of the photograph.
        in_degrees: whether they are latitudes and longitudes.
        warnings: sentences about those that are not used.
    """

    of_image: Mapping[int, Fix]
    in_degrees: bool
    warnings: tuple[str, ...] = ()


def fix_of(image: Image.Image, tags: dict[str, str]) -> tuple[Fix | None, bool]:
    """Read the position of an open image: DJI's XMP, which has more digits, before EXIF.

    Returns:
        The position, and whether one of (0, 0) stands there instead: that of a receiver without a fix.
    """
    found = read_gps(image)
    latitude = number(tags, "drone-dji:GpsLatitude")
    longitude = number(tags, "drone-dji:GpsLongitude", "drone-dji:GpsLongtitude")  # DJI's own spelling, of old firmware
    if latitude is not None and longitude is not None and abs(latitude) <= 90 and abs(longitude) <= 180:
        if latitude == longitude == 0:
            return None, True
        height = number(tags, "drone-dji:AbsoluteAltitude")
        found = latitude, longitude, height if height is not None else (found[2] if found else None)
    if found is None:
        return None, _is_zero(image)
    latitude, longitude, height = found
    return Fix(xyz=(latitude, longitude, np.nan if height is None else height), sigmas=_sigmas(image, tags)), False


def read_positions(path: Path, names: Sequence[str]) -> Fixes:
    """Read a table of positions: name,lat,lon,alt[,accuracy_m] in degrees and metres, or name,x,y,z[,accuracy_m].

    Args:
        path: of the table.
        names: of the photographs.

    Raises:
        InputError: it cannot be read, has no number where one must be, names a photograph twice, or none of them.
    """
    rows = read_table(path, [("name", "lat", "lon", "alt"), ("name", "x", "y", "z")], ["accuracy_m"], "positions")
    in_degrees = "lat" in rows[0].cells
    table: dict[str, Row] = {}
    for row in rows:
        name = row.cells["name"]
        if name in table:
            raise InputError(
                f"{path} has two positions for {name}, in lines {table[name].line} and {row.line}; keep one.", path=path
            )
        table[name] = row
    used, _ = resolve(table, names, path, "position")
    read = {name: _fix_of_row(row, in_degrees) for name, row in used.items()}
    fixes = {names.index(name): fix for name, fix in read.items() if fix is not None}
    warnings = []
    strange = len(table) - len(used)
    if strange:
        warnings.append(f"{strange} of {len(table)} names in {path} are not among the photographs; they are not used.")
    if len(fixes) < len(names):
        warnings.append(f"{len(names) - len(fixes)} of {len(names)} photographs have no position in {path}.")
    zeros = [name for name, fix in read.items() if fix is None]
    return Fixes(of_image=fixes, in_degrees=in_degrees, warnings=(*warnings, *zero_warnings(zeros)))


def zero_warnings(names: Sequence[str]) -> list[str]:
    """A sentence on photographs at latitude 0, longitude 0."""
    if not names:
        return []
    return [
        f"{len(names)} GPS positions are (0, 0), which receivers write without a fix; they are ignored, that of "
        f"{names[0]} for one."
    ]


def in_metres(
    fixes: Fixes, count: int
) -> tuple[Positions, tuple[float, float, float] | None, tuple[float, float, float]]:
    """Bring positions into one local frame.

    Latitudes and longitudes become metres east, north and up of their median (which no wrong one moves far). Heights
    count only where all positions have one: a missing one would tilt the model. Large local coordinates are moved by
    whole kilometres.

    Args:
        fixes: at least one.
        count: number of photographs.

    Returns:
        The positions; the origin in degrees and metres, None for local ones; what was taken from local coordinates.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    images = list(fixes.of_image)
    given = np.array([fixes.of_image[image].xyz for image in images])
    sigma = np.array([fixes.of_image[image].sigmas for image in images])
    if not np.isfinite(given[:, 2]).all():
        given[:, 2], sigma[:, 2] = 0.0, _UNKNOWN_HEIGHT_METRES
    origin, offset = None, (0.0, 0.0, 0.0)
    if fixes.in_degrees:
        gps = pycolmap.GPSTransform()
        middle = np.median(np.asarray(gps.ellipsoid_to_ecef(given)), axis=0)
        latitude, longitude, height = np.asarray(gps.ecef_to_ellipsoid(middle[None]))[0].tolist()
        origin = (latitude, longitude, 0.0 if not given[:, 2].any() else height)
        given = np.asarray(gps.ellipsoid_to_enu(given, *origin))
    else:
        offset = offset_of(given)
        given = given - offset
    xyz, sigmas = np.full((count, 3), np.nan), np.full((count, 3), np.nan)
    xyz[images], sigmas[images] = given, sigma
    return Positions(xyz=xyz, sigmas=sigmas), origin, offset


def offset_of(xyz: Float64[np.ndarray, "m 3"]) -> tuple[float, float, float]:
    """What to take from local coordinates so that single precision holds them: nothing, or whole kilometres."""
    middle = np.round(np.median(xyz, axis=0) / _OFFSET_STEP_METRES) * _OFFSET_STEP_METRES
    x, y, z = np.where(np.abs(xyz).max(axis=0) > _LARGE_METRES, middle, 0.0).tolist()
    return (x, y, z)


def _fix_of_row(row: Row, in_degrees: bool) -> Fix | None:
    """The position of a line; None for (0, 0)."""
    if not in_degrees:
        xyz = (row.number("x"), row.number("y"), row.number("z"))
    else:
        height = row.number("alt") if row.cells["alt"] else np.nan
        xyz = (row.number("lat"), row.number("lon"), height)
        if abs(xyz[0]) > 90 or abs(xyz[1]) > 180:
            raise InputError(
                f"Line {row.line} of {row.path} has latitude {xyz[0]} and longitude {xyz[1]}, which are not degrees; "
                "for metres name the columns name,x,y,z.",
                path=row.path,
            )
        if xyz[0] == xyz[1] == 0:
            return None
    sigmas = (_GPS_SIGMA_METRES, _GPS_SIGMA_METRES, _VERTICAL_OF_HORIZONTAL * _GPS_SIGMA_METRES)
    if row.cells.get("accuracy_m"):
        accuracy = row.number("accuracy_m")
        if accuracy <= 0:
            raise InputError(f"Line {row.line} of {row.path} has an accuracy of {accuracy:g} m; it must be above 0.")
        sigmas = (accuracy, accuracy, accuracy)
    return Fix(xyz=xyz, sigmas=sigmas)


def _sigmas(image: Image.Image, tags: dict[str, str]) -> tuple[float, float, float]:
    """Standard deviations of east, north and up: of an RTK receiver, of EXIF, or the usual ones."""
    rtk = [number(tags, name) for name in _RTK_STD]
    north, east, up = (value or 0.0 for value in rtk)
    if min(north, east, up) > 0:
        return east, north, up
    try:
        written = positive(image.getexif().get_ifd(ExifTags.IFD.GPSInfo).get(ExifTags.GPS.GPSHPositioningError))
    except Exception:  # damaged blocks raise anything
        written = 0.0
    horizontal = written or _GPS_SIGMA_METRES
    return horizontal, horizontal, _VERTICAL_OF_HORIZONTAL * horizontal


def _is_zero(image: Image.Image) -> bool:
    """Whether EXIF has a latitude and a longitude of 0."""
    try:
        tags = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
        parts = [*tags[ExifTags.GPS.GPSLatitude], *tags[ExifTags.GPS.GPSLongitude]]
        return not any(float(part) for part in parts)
    except Exception:  # damaged or half written blocks raise anything
        return False
