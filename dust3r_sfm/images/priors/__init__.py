"""What files measure of the world: positions, gravity, surveyed points."""
