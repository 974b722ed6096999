"""Depth maps of every pixel, from the aligned pairs."""
