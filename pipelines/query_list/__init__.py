"""Aachen, InLoc and the like: queries without public poses, judged by a server."""
