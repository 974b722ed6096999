"""MASt3R's network (Leroy et al. 2024) as a predictor: DUSt3R's pointmaps in metres, and matching descriptors."""

from dust3r_sfm.network.names import KNOWN_WEIGHTS
from dust3r_sfm.predictors.dust3r import NetworkPredictor, weights_hint


class Mast3r512(NetworkPredictor):
    """MASt3R, long side 512 pixels: metric pointmaps, and a matching descriptor for every pixel."""

    known = KNOWN_WEIGHTS["mast3r-512"]
    licence, weights = known.licence, weights_hint(known)
    has_descriptors = True
    descriptor_size = 24
    is_metric = True
