"""Rough cameras of other programs, put where the matches of the photographs say that they are."""
