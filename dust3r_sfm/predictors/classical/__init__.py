"""The embedded predictor that needs no network: SIFT, robust two-view geometry, guided flow stereo."""

from dust3r_sfm.predictors.classical.predictor import ClassicalPredictor

__all__ = ["ClassicalPredictor"]
