"""Depth of single photographs: NYUv2, KITTI, Bonn, TUM and DDAD."""
