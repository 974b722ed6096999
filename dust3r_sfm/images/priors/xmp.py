"""XMP packets: what drones and panorama apps write of position and attitude."""

import math
import re

from PIL import Image

_PREFIXES = ("drone-dji", "GPano", "exif")
"""Usual prefixes of the name spaces that are read."""
_VALUE = re.compile(rf"({'|'.join(_PREFIXES)}):(\w+)\s*(?:=\s*[\"']([^\"']*)[\"']|>([^<]*)<)")
"""An attribute, or an element without others inside."""
_MAX_BYTES = 1 << 20
"""Packets are a few kilobytes; what is longer is no description of a camera. Chosen by hand."""


def read_xmp(image: Image.Image) -> dict[str, str]:
    """Read the properties of an open image's packet, by name with the prefix; empty without one."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    text = packet if isinstance(packet, str) else bytes(packet[:_MAX_BYTES]).decode("utf-8", errors="replace")
    return {f"{prefix}:{name}": value or inner for prefix, name, value, inner in _VALUE.findall(text)}


def number(tags: dict[str, str], *names: str) -> float | None:
    """The first of some properties that is there and a finite number."""
    for name in names:
        try:
            value = float(tags[name])
        except (KeyError, ValueError):
            continue
        if math.isfinite(value):
            return value
    return None
