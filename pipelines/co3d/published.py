"""Published figures on CO3Dv2; a test holds the README's tables against them."""

from pipelines.multiview import COLUMNS
from pipelines.report import Published

CATEGORIES: tuple[str, ...] = (
    *("apple", "backpack", "banana", "baseballbat", "baseballglove", "bench", "bicycle", "bottle", "bowl"),
    *("broccoli", "cake", "car", "carrot", "cellphone", "chair", "cup", "donut", "hairdryer"),
    *("handbag", "hydrant", "keyboard", "laptop", "microwave", "motorcycle", "mouse", "orange", "parkingmeter"),
    *("pizza", "plant", "stopsign", "teddybear", "toaster", "toilet", "toybus", "toyplane", "toytrain"),
    *("toytruck", "tv", "umbrella", "vase", "wineglass"),
)
"""The 41 categories of the tables; the other ten were held out when PoseDiffusion was trained."""

_DUST3R_2 = "DUSt3R (Wang et al., CVPR 2024), table 2"
_DUST3R_5 = "DUSt3R (Wang et al., CVPR 2024), table 5"
_MAST3R = "MASt3R (Leroy et al., ECCV 2024), table 3"
_SAIL = "SAIL-Recon (2025)"
_ROWS = (
    (10, "COLMAP + SuperPoint + SuperGlue", _DUST3R_2, "36.1 27.3 25.3"),
    (10, "PixSfM", _DUST3R_2, "33.7 32.9 30.1"),
    (10, "PoseDiffusion", _DUST3R_2, "80.5 79.8 66.5"),
    (10, "DUSt3R 512, PnP", _DUST3R_2, "94.3 88.4 77.2"),
    (10, "DUSt3R 512, global alignment", _DUST3R_2, "96.2 86.8 76.7"),
    (10, "MASt3R, pairwise", _MAST3R, "94.6 91.9 81.8"),
    (10, "MASt3R-SfM", _SAIL, "96.0 93.1 88.0"),
    (10, "GLOMAP", _SAIL, "45.9 40.3 37.3"),
    (10, "VGGSfM", _SAIL, "92.1 88.3 74.0"),
    (10, "VGGT", _SAIL, "98.4 94.8 88.2"),
    (5, "DUSt3R 512, global alignment", _DUST3R_5, "95.5 86.7 76.5"),
    (3, "DUSt3R 512, global alignment", _DUST3R_5, "95.3 88.3 77.5"),
)


def published(num_frames: int) -> tuple[Published, ...]:
    """Rows of the tables with that many frames."""
    return tuple(
        Published(method=method, source=source, figures=dict(zip(COLUMNS, map(float, figures.split()), strict=True)))
        for frames, method, source, figures in _ROWS
        if frames == num_frames
    )
