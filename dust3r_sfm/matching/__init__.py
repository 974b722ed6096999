"""From a pair's pointmaps to pixel correspondences and relative poses."""
