"""Cameras at the precision of keypoints."""
