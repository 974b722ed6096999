"""Photographs in pairs → pointmaps: the predictors, and the store of what they said."""
