"""Localization benchmarks from the data sets as they are published to a table beside published numbers."""
