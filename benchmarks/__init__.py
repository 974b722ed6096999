"""What the documents claim, measured: see README.md."""
