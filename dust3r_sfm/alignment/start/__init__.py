"""A first placement of all images that bad pairs cannot spoil."""
