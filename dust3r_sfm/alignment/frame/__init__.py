"""Whose world the scene is in: known poses, the first camera, metres."""
