"""Pure batched geometry on numpy arrays: transforms, pinhole cameras, similarity fits, focals, nearest neighbours."""
