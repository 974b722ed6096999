"""How good a model is, measured against known cameras."""
