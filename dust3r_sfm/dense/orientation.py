"""The EXIF orientation tag inside an image file, set to "as stored" in place: not a pixel is encoded again."""

import struct
import zlib
from pathlib import Path

_ORIENTATION_TAG = 0x0112
"""Number of the EXIF tag (EXIF 2.3)."""
_JPEG_START, _PNG_START = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_TIFF_STARTS = {b"II*\0": "<", b"MM\0*": ">"}
_JPEG_SCAN, _JPEG_EXIF = 0xDA, 0xE1
"""Markers of a JPEG file: the picture begins, EXIF (ITU T.81, EXIF 2.3)."""


def reset_orientation(path: Path) -> bool:
    """Set the orientation tag of a JPEG, PNG or TIFF file to 1, and say whether it was something else.

    Viewers and OpenCV turn a picture by this tag while COLMAP and the splatting trainers do not; without it all agree.
    """
    data = bytearray(path.read_bytes())
    span = _tiff_span(data)
    if span is None or not _reset_in_tiff(data, *span):
        return False
    if data.startswith(_PNG_START):
        start, end = span
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[start - 4 : end]))
    path.write_bytes(data)
    return True


def _tiff_span(data: bytearray) -> tuple[int, int] | None:
    """Start and end of the TIFF structure that holds the EXIF tags."""
    if data.startswith(tuple(_TIFF_STARTS)):
        return 0, len(data)
    if data.startswith(_JPEG_START):
        return _in_jpeg(data)
    if data.startswith(_PNG_START):
        return _in_png(data)
    return None


def _in_jpeg(data: bytearray) -> tuple[int, int] | None:
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != _JPEG_SCAN:
        (length,) = struct.unpack_from(">H", data, position + 2)
        if data[position + 1] == _JPEG_EXIF and data[position + 4 : position + 10] == b"Exif\0\0":
            return position + 10, min(position + 2 + length, len(data))
        position += 2 + length
    return None


def _in_png(data: bytearray) -> tuple[int, int] | None:
    position = len(_PNG_START)
    while position + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if data[position + 4 : position + 8] == b"eXIf":
            return position + 8, min(position + 8 + length, len(data))
        position += 12 + length
    return None


def _reset_in_tiff(data: bytearray, start: int, end: int) -> bool:
    """Set the orientation entry of the first directory to 1 (TIFF 6.0, section 2)."""
    order = _TIFF_STARTS.get(bytes(data[start : start + 4]))
    if order is None or start + 8 > end:
        return False
    directory = start + struct.unpack_from(order + "I", data, start + 4)[0]
    if directory + 2 > end:
        return False
    (num_entries,) = struct.unpack_from(order + "H", data, directory)
    for entry in range(directory + 2, min(directory + 2 + 12 * num_entries, end - 11), 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", data, entry)
        if tag == _ORIENTATION_TAG and value != 1:
            struct.pack_into(order + "H", data, entry + 8, 1)
            return True
    return False
