"""An endless world for training: random scenes as flat tensors, ray-cast in batches on the training device."""
