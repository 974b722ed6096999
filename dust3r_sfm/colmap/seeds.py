"""Points that splatting starts from: positions and colours in a COLMAP model, without observations."""

from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.types import Tracks


def with_seeds(reconstruction: Reconstruction, seeds: Tracks) -> Reconstruction:
    """Copy a model with further points whose tracks are empty and whose error is -1 (unknown, as in a new point).

    Trainers read positions and colours of all points. COLMAP's adjustment and stereo go by observations and pass these
    over; tracks of one observation would not do, as `bundle_adjuster` stops at them.

    Args:
        reconstruction: the model; it stays as it is.
        seeds: of which only positions and colours count.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    copy = pycolmap.Reconstruction(reconstruction)
    for xyz, rgb in zip(seeds.xyz, seeds.rgb, strict=True):
        copy.add_point3D(xyz, pycolmap.Track(), rgb)
    return copy
