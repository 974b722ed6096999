"""Published medians on Cambridge Landmarks, centimetres/degrees; a test holds the README's table against them."""

from pipelines.table import published_row

SCENES = ("ShopFacade", "OldHospital", "KingsCollege", "StMarysChurch", "GreatCourt")

_DUST3R = "DUSt3R (Wang et al., CVPR 2024), table 1"
_UNKNOWN = "DUSt3R (Wang et al., CVPR 2024), table 6"
_HLOC = "hloc's page on Cambridge"

PUBLISHED = tuple(
    published_row(method, source, SCENES, medians)
    for method, source, medians in (
        ("DUSt3R 224, top 20", _DUST3R, "9/0.38 26/0.46 20/0.32 11/0.38 36/0.24"),
        ("DUSt3R 512, top 20", _DUST3R, "6/0.26 17/0.33 11/0.20 7/0.24 38/0.16"),
        ("DUSt3R 512, unknown focal", _UNKNOWN, "64/0.97 151/0.88 102/0.88 79/1.46 245/1.08"),
        ("hloc SuperPoint + SuperGlue", _HLOC, "4/0.19 14/0.30 12/0.21 7/0.22 17/0.11"),
    )
)
