"""From one frame to the files that COLMAP, splatting trainers and hloc open: tracks, model, database, MVS workspace."""
