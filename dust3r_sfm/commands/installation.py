"""What this installation has and can do, and networks of your own."""

from typing import Annotated, Literal

import tyro

from dust3r_sfm.commands.arguments import Out
from dust3r_sfm.options import TrainOptions
from dust3r_sfm.system.terminal import Terminal

Action = Annotated[Literal["list", "get"], tyro.conf.Positional]


def predictors() -> None:
    """List the predictors, their licences, and where their weights are."""
    from dust3r_sfm.predictors.predictor import list_predictors

    for one in list_predictors():
        print(one.name, one.summary, f"licence: {one.licence}", f"weights: {one.weights or 'none'}", sep="\n    ")


def features(action: Action = "list", name: Annotated[str, tyro.conf.Positional] = "") -> None:
    """List the matchers of local features and their weights, or get those of one.

    Args:
        action: Whether to list, or to download what a matcher needs.
        name: Which matcher to get.
    """
    from dust3r_sfm.features import listing

    print(*(listing.matcher_lines() if action == "list" else listing.get_weights(name)), sep="\n")


def doctor() -> None:
    """Show versions, devices, and what this installation can do."""
    from dust3r_sfm.doctor import report

    print(report())


def train(out: Out, options: TrainOptions) -> None:
    """Train a network on photographs with known depth and cameras, or go on with --resume.

    Args:
        out: Output folder: checkpoint, weights, log.
        options: What to train, on what, and how.
    """
    from dust3r_sfm.training.run import train

    print(f"weights             {train(out, options, Terminal())}")
