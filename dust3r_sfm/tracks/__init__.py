"""From matches to points: one keypoint of each image, triangulated."""
