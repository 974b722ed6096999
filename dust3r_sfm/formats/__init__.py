"""Files of other programs, written from a model."""
