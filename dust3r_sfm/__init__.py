"""Photographs in, COLMAP model out: Structure-from-Motion on pairwise pointmaps."""

__version__ = "0.1.0"
