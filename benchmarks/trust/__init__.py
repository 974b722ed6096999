"""Whether runs can be trusted when they are disturbed."""
