"""Local features of photographs, and their matches."""
