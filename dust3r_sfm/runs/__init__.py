"""The output folder of a run: what is in it, and what it came to."""
