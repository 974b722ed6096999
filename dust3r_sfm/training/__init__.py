"""Training: losses, data sets, the recipe's schedule and the loop. Torch and numpy only; knows nothing of COLMAP."""
