"""Published medians on 7-Scenes, centimetres/degrees; a test holds the README's table against them."""

from pipelines.table import published_row

SCENES = ("chess", "fire", "heads", "office", "pumpkin", "redkitchen", "stairs")

_DUST3R = "DUSt3R (Wang et al., CVPR 2024), table 1"
_UNKNOWN = "DUSt3R (Wang et al., CVPR 2024), table 6"
_HLOC = "hloc's page on 7Scenes; judged by SfM poses, not by KinectFusion's"

PUBLISHED = tuple(
    published_row(method, source, SCENES, medians)
    for method, source, medians in (
        ("DUSt3R 224, top 1", _DUST3R, "3/0.96 3/1.02 1/1.00 4/1.04 5/1.26 4/1.36 21/4.08"),
        ("DUSt3R 512, top 1", _DUST3R, "3/0.97 3/0.95 2/1.37 3/1.01 4/1.14 4/1.34 11/2.84"),
        ("DUSt3R 512, unknown focal", _UNKNOWN, "5/1.08 5/1.18 4/1.33 6/1.05 7/1.25 6/1.37 26/3.56"),
        ("hloc SuperPoint + SuperGlue, points", _HLOC, "2/0.84 2/0.93 1/0.74 3/0.92 5/1.27 4/1.40 5/1.47"),
        ("hloc SuperPoint + SuperGlue, depth", _HLOC, "2/0.80 2/0.77 1/0.79 3/0.80 4/1.07 3/1.13 4/1.15"),
    )
)
