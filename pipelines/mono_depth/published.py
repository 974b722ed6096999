"""Published figures of monocular depth, percent; a test holds the README's table against them."""

from pipelines.report import Published

SETS = ("ddad", "kitti", "bonn", "nyu", "tum")

_DUST3R = "DUSt3R (Wang et al., CVPR 2024), table 2"
_ROWS = (
    ("DPT-BEiT, supervised", "10.70/84.63 9.45/89.27 - 5.40/96.54 10.45/89.68"),
    ("NeWCRFs, supervised", "9.59/82.92 5.43/91.54 - 6.22/95.58 14.63/82.95"),
    ("SC-DepthV3, self-supervised", "14.20/81.27 11.79/86.39 12.58/88.92 12.34/84.80 16.28/79.67"),
    ("SlowTv, zero-shot", "12.63/79.34 - - 11.59/87.23 15.02/80.86"),
    ("DUSt3R 224-NoCroCo", "19.63/70.03 20.10/71.21 14.44/86.00 14.51/81.06 22.14/66.26"),
    ("DUSt3R 224", "16.32/77.58 16.97/77.89 11.05/89.95 10.28/88.92 17.61/75.44"),
    ("DUSt3R 512", "13.88/81.17 10.74/86.60 8.08/93.56 6.50/94.09 14.17/79.89"),
)


def columns(depth_set: str) -> tuple[str, str]:
    """Of a set: AbsRel and the share of pixels within a ratio of 1.25."""
    return f"{depth_set} AbsRel", f"{depth_set} δ1.25"


def _row(method: str, text: str) -> Published:
    figures: dict[str, float] = {}
    for depth_set, pair in zip(SETS, text.split(), strict=True):
        if pair != "-":
            figures |= dict(zip(columns(depth_set), map(float, pair.split("/")), strict=True))
    return Published(method=method, source=_DUST3R, figures=figures)


PUBLISHED = tuple(_row(*row) for row in _ROWS)
