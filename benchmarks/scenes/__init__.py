"""Rendered photographs for the benchmarks."""
