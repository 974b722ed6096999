"""Maps, queries and the baseline of the localization benchmarks."""
