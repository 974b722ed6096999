"""Global alignment: many pairwise frames become one scene."""

from dust3r_sfm.alignment.align import align, align_parts

__all__ = ["align", "align_parts"]
