"""Global alignment: many pairwise frames become one scene."""

from dust3r_sfm.alignment.align import align

__all__ = ["align"]
