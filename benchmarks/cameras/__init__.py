"""Cameras that are given, and lenses."""
