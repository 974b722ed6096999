"""Cameras in the files of other programs."""
