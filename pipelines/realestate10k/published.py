"""Published figures on RealEstate10K; a test holds the README's tables against them."""

from pipelines.report import Published

COLUMN = "mAA@30"

_DUST3R_2 = "DUSt3R (Wang et al., CVPR 2024), table 2"
_DUST3R_5 = "DUSt3R (Wang et al., CVPR 2024), table 5"
_MAST3R = "MASt3R (Leroy et al., ECCV 2024), table 3"
_ROWS = (
    (10, "COLMAP + SuperPoint + SuperGlue", _DUST3R_2, 45.2),
    (10, "PixSfM", _DUST3R_2, 49.4),
    (10, "PoseDiffusion", _DUST3R_2, 48.0),
    (10, "DUSt3R 512, PnP", _DUST3R_2, 61.2),
    (10, "DUSt3R 512, global alignment", _DUST3R_2, 67.7),
    (10, "MASt3R, pairwise", _MAST3R, 76.4),
    (10, "MASt3R-SfM", "SAIL-Recon (2025)", 86.8),
    (10, "Fast3R", "Fast3R (Yang et al., CVPR 2025)", 72.7),
    (10, "VGGT", "SAIL-Recon (2025)", 85.3),
    (5, "DUSt3R 512, global alignment", _DUST3R_5, 67.4),
    (3, "DUSt3R 512, global alignment", _DUST3R_5, 69.5),
)


def published(num_frames: int) -> tuple[Published, ...]:
    """Rows of the tables with that many frames."""
    return tuple(
        Published(method=method, source=source, figures={COLUMN: figure})
        for frames, method, source, figure in _ROWS
        if frames == num_frames
    )
