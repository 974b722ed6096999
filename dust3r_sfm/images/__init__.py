"""Photographs: finding, reading, resizing. Start at `read.read_images`."""
