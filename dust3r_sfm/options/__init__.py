"""Every option of the package.

The command line is generated from these dataclasses (tyro): a field is a flag, its docstring is the help text. Fields
of the classes that one command joins have different names, so that flags need no prefix. A class that extends another
is for verbs that read more: each verb takes the smallest one that holds all it reads.
"""

from dust3r_sfm.options.chain import (
    AlignCommand,
    AlignOptions,
    CameraSharing,
    ImageOptions,
    KnownCameraOptions,
    KnownOptions,
    MatchOptions,
    OutputOptions,
    PairOptions,
    PairsCommand,
    PairStrategy,
    PredictCommand,
    PredictOptions,
    PredictorOptions,
    ReadOptions,
    ReconstructOptions,
    RefineCommand,
    RefineOptions,
    RunOptions,
    TrackOptions,
    VideoOptions,
)
from dust3r_sfm.options.localize import LocalizeOptions
from dust3r_sfm.options.train import TrainOptions

__all__ = [
    "AlignCommand",
    "AlignOptions",
    "CameraSharing",
    "ImageOptions",
    "KnownCameraOptions",
    "KnownOptions",
    "LocalizeOptions",
    "MatchOptions",
    "OutputOptions",
    "PairOptions",
    "PairStrategy",
    "PairsCommand",
    "PredictCommand",
    "PredictOptions",
    "PredictorOptions",
    "ReadOptions",
    "ReconstructOptions",
    "RefineCommand",
    "RefineOptions",
    "RunOptions",
    "TrackOptions",
    "TrainOptions",
    "VideoOptions",
]
