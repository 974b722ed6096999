"""The published checkpoints this package knows by name. No torch here: listing them is quick."""

import os
from dataclasses import dataclass
from pathlib import Path

_DUST3R = "DUSt3R: Geometric 3D Vision Made Easy, Wang et al., CVPR 2024, https://arxiv.org/abs/2312.14132"
_MAST3R = "Grounding Image Matching in 3D with MASt3R, Leroy et al., ECCV 2024, https://arxiv.org/abs/2406.09756"
_SERVER = "https://download.europe.naverlabs.com/ComputerVision"
NON_COMMERCIAL = (
    "CC BY-NC-SA 4.0 (non-commercial), and the licences of the public training data sets and base checkpoints"
)


@dataclass(frozen=True, kw_only=True)
class KnownWeights:
    """One published checkpoint.

    Attributes:
        name: what a user types.
        hub_id: repository on the Hugging Face hub (config.json and model.safetensors).
        url: the same weights as one .pth file.
        image_size: long side of the images it was trained on, in pixels.
        square: it was trained on square crops only.
        licence: terms of the weights.
        paper: what to cite.
    """

    name: str
    hub_id: str
    url: str
    image_size: int
    square: bool
    licence: str
    paper: str

    @property
    def file_name(self) -> str:
        """Name of the .pth file."""
        return self.url.rsplit("/", 1)[1]


def _known(name: str, family: str, file: str, image_size: int, licence: str, paper: str) -> KnownWeights:
    return KnownWeights(
        name=name,
        hub_id=f"naver/{file}",
        url=f"{_SERVER}/{family}/{file}.pth",
        image_size=image_size,
        square=image_size == 224,
        licence=licence,
        paper=paper,
    )


KNOWN_WEIGHTS = {
    known.name: known
    for known in (
        _known("dust3r-224-linear", "DUSt3R", "DUSt3R_ViTLarge_BaseDecoder_224_linear", 224, NON_COMMERCIAL, _DUST3R),
        _known("dust3r-512-linear", "DUSt3R", "DUSt3R_ViTLarge_BaseDecoder_512_linear", 512, NON_COMMERCIAL, _DUST3R),
        _known("dust3r-512-dpt", "DUSt3R", "DUSt3R_ViTLarge_BaseDecoder_512_dpt", 512, NON_COMMERCIAL, _DUST3R),
        _known(
            "mast3r-512",
            "MASt3R",
            "MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric",
            512,
            f"{NON_COMMERCIAL}; the one of the Map-free data set is very restrictive (see MASt3R's CHECKPOINTS_NOTICE)",
            _MAST3R,
        ),
    )
}
"""By name, in the order they are listed to the user."""


UNKNOWN_LICENCE = "unknown; ask whoever gave you the file"


def find_known(source: str) -> KnownWeights | None:
    """The published checkpoint that a name, hub id, url or file name stands for, if any."""
    for known in KNOWN_WEIGHTS.values():
        stem = known.file_name.removesuffix(".pth")
        if source in (known.name, known.hub_id, known.url) or source.rsplit("/", 1)[-1] in (known.file_name, stem):
            return known
    return None


def find_licence(source: str) -> str:
    """The licence of a checkpoint that was asked for by this path or name."""
    known = find_known(source)
    if known is not None:
        return known.licence
    return NON_COMMERCIAL if source.rsplit("/", 1)[-1].startswith("CroCo_V2_") else UNKNOWN_LICENCE


def weights_folder() -> Path:
    """Where .pth files of known names are looked for: ~/.cache/dust3r_sfm/weights, or under $XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dust3r_sfm" / "weights"
