"""What the alignment left out: photographs and parts of the model that keypoints join to a refined one."""
