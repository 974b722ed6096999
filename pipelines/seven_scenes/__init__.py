"""7-Scenes (Shotton et al., CVPR 2013)."""
