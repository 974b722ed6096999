"""Exactly known scenes: worlds made of analytic surfaces, ray-traced photographs and their true geometry."""
