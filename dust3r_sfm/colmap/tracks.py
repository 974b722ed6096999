"""Where `build_tracks` was until 0.1; it stays importable from here until 0.2."""

from dust3r_sfm.tracks.build import build_tracks as build_tracks
