"""From photographs to a model: the whole chain, and each of its stages."""

from typing import Annotated

from dust3r_sfm.commands.arguments import Out, Photos, Unnamed
from dust3r_sfm.options import AlignCommand, PairsCommand, PredictCommand, ReconstructOptions
from dust3r_sfm.system.terminal import Terminal


def reconstruct(photos: Photos, out: Out, options: Annotated[ReconstructOptions, Unnamed]) -> None:
    """Photographs in, COLMAP model out: every stage, resumed where an earlier run stopped.

    Args:
        photos: Folder of photographs, or a video.
        out: Output folder.
        options: Options of every stage.
    """
    from dust3r_sfm.reconstruct import reconstruct

    print(reconstruct(photos, out, options, progress=Terminal()))


def pairs(photos: Photos, out: Out, options: Annotated[PairsCommand, Unnamed]) -> None:
    """Select the pairs of photographs to predict: OUT/pairs.txt.

    Args:
        photos: Folder of photographs, or a video.
        out: Output folder.
        options: How photographs are read, and which pairs.
    """
    from dust3r_sfm.reconstruct import reconstruct

    reconstruct(photos, out, options.whole(), until="pairs", progress=Terminal())


def predict(photos: Photos, out: Out, options: Annotated[PredictCommand, Unnamed]) -> None:
    """Predict the pointmaps of every pair: OUT/predictions.h5.

    Args:
        photos: Folder of photographs, or a video.
        out: Output folder.
        options: Options of the stages up to this one.
    """
    from dust3r_sfm.reconstruct import reconstruct

    reconstruct(photos, out, options.whole(), until="predict", progress=Terminal())


def align(photos: Photos, out: Out, options: Annotated[AlignCommand, Unnamed]) -> None:
    """Align the pointmaps of all pairs in one frame: OUT/scene.h5.

    Args:
        photos: Folder of photographs, or a video.
        out: Output folder.
        options: Options of the stages up to this one.
    """
    from dust3r_sfm.reconstruct import reconstruct

    reconstruct(photos, out, options.whole(), until="align", progress=Terminal())
