"""The command line of `dust3r-sfm refine`."""

from pathlib import Path
from typing import Annotated

import tyro

from dust3r_sfm.options import RefineCommand
from dust3r_sfm.system.terminal import Terminal


def command(
    cameras: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CAMERAS")],
    photos: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PHOTOS")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    options: Annotated[RefineCommand, tyro.conf.arg(name="")],
) -> None:
    """Make the rough cameras of another program precise, in their frame and scale.

    Args:
        cameras: COLMAP model, transforms.json, poses.json, or a file of Bundler, VisualSFM, Metashape or Polycam.
        photos: Folder of photographs.
        out: Output folder.
        options: How photographs are read and cameras refined.
    """
    from dust3r_sfm.refine_cameras import refine_cameras

    print(refine_cameras(cameras, photos, out, options, progress=Terminal()))
