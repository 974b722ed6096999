"""Where cameras stand: centres and points solved together while the rotations stay."""

from collections.abc import Sequence

from dust3r_sfm.colmap.camera_models import cameras_of
from dust3r_sfm.colmap.model import with_points
from dust3r_sfm.correction.relative import Relation
from dust3r_sfm.correction.rotations import pose_graph
from dust3r_sfm.geometry.pinhole import triangulate
from dust3r_sfm.system._pycolmap import Reconstruction, quiet
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.tracks.merge import tracks_of
from dust3r_sfm.tracks.spread import spread
from dust3r_sfm.tracks.triangulation import Points
from dust3r_sfm.types import Tracks

_MAX_POINTS_PER_IMAGE = 300
"""Points per image that centres are found with, long tracks first; chosen by hand."""


def positioned(
    model: Reconstruction, relations: Sequence[Relation], depths: AlignedDepths, seed: int
) -> Reconstruction | None:
    """Find the centres of cameras whose rotations are known (pycolmap's global positioning, Pan et al. 2024).

    Args:
        model: cameras with averaged rotations and rough centres, from which the search starts; it is not changed.
        relations: pairs that agree with the rotations.
        depths: say how large a network pixel is.
        seed: of the solver.

    Returns:
        The cameras without points; None where the solver fails.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    tracks = _tracks(model, relations, depths)
    solved = with_points(model, tracks)
    options = pycolmap.GlobalPositionerOptions(
        generate_random_positions=False,
        generate_random_points=False,
        min_num_view_per_track=2,
        random_seed=seed,
        use_gpu=False,
    )
    with quiet():
        if not pycolmap.run_global_positioning(options, pose_graph(relations), solved):
            return None
    return solved


def _tracks(model: Reconstruction, relations: Sequence[Relation], depths: AlignedDepths) -> Tracks:
    """Tracks of all matches, with the points that rough cameras triangulate."""
    count = len(depths.depths)
    tracks = tracks_of([one.matches for one in relations])
    tracks = tracks.take(spread(tracks, depths, _MAX_POINTS_PER_IMAGE * count)[tracks.track_of])
    points = Points.of(cameras_of(model, count), tracks)
    poses = points.cameras.cam_from_world[points.image_of]
    return points.moved(triangulate(poses, points.rays(), points.track_of, len(points))).tracks
