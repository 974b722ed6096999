"""The stages of DUSt3R's and MASt3R's recipes, as released with their code, and those of our small network.

The released training commands count; DUSt3R's paper gives other lengths in its appendix: 50 epochs of 700 000 pairs at
224, then 100 and 90 of 70 000 at 512.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from dust3r_sfm.network.config import NetworkConfig
from dust3r_sfm.network.mini import MiniConfig
from dust3r_sfm.training.losses import Confident, Criterion, InvariantRegression
from dust3r_sfm.training.matching_loss import MatchingLoss
from dust3r_sfm.training.mini_loss import MiniLoss
from dust3r_sfm.training.schedule import Schedule
from dust3r_sfm.types import Size

_RATIOS_512: tuple[Size, ...] = ((512, 384), (512, 336), (512, 288), (512, 256), (512, 160))
"""Sizes (width, height) that the 512 stages draw from (Wang et al. 2024, released code)."""

# The world's cameras vary light and colour themselves.
_MINI: dict[str, Any] = {
    "accumulation": 1,
    "pairs_per_epoch": 100_000,
    "validation_pairs": 512,
    "criterion": MiniLoss(),
    "weight_decay": 0.03,
    "jitter": (0.0, 0.0, 0.0, 0.0),
}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One stage of training.

    Attributes:
        name: what a user types.
        config: the network.
        start: what the recipe starts its weights from: a stage before it, or CroCo's file; empty where from nothing.
        sizes: (width, height) of the crops; every batch draws one.
        schedule: learning rate over the epochs.
        batch_size: pairs of one process in one pass, before they are made symmetric.
        accumulation: passes per optimizer step.
        pairs_per_epoch: of all sources together.
        criterion: what is minimized.
        validation: what chooses the best weights.
        weight_decay: of weight matrices.
        jitter: brightness, contrast, saturation and hue of the colour jitter.
        validation_pairs: drawn from the synthetic world to judge a run that was given no data; 0 where the preset needs
            data.
    """

    name: str
    config: NetworkConfig | MiniConfig
    start: str
    sizes: tuple[Size, ...]
    schedule: Schedule
    batch_size: int
    accumulation: int
    pairs_per_epoch: int
    criterion: Criterion = field(default_factory=Confident)
    validation: Criterion = field(default_factory=lambda: InvariantRegression(keep_truth=True))
    weight_decay: float = 0.05
    jitter: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 0.1)
    validation_pairs: int = 0


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="224-linear",
            config=NetworkConfig(image_size=(224, 224), head="linear"),
            start="CroCo_V2_ViTLarge_BaseDecoder.pth",
            sizes=((224, 224),),
            schedule=Schedule(warmup=10.0, epochs=100.0),
            batch_size=16,
            accumulation=1,
            pairs_per_epoch=800_000,
        ),
        Preset(
            name="512-linear",
            config=NetworkConfig(head="linear"),
            start="224-linear",
            sizes=_RATIOS_512,
            schedule=Schedule(warmup=20.0, epochs=100.0),
            batch_size=4,
            accumulation=2,
            pairs_per_epoch=80_000,
        ),
        Preset(
            name="512-dpt",
            config=NetworkConfig(head="dpt"),
            start="512-linear",
            sizes=_RATIOS_512,
            schedule=Schedule(warmup=15.0, epochs=90.0),
            batch_size=4,
            accumulation=2,
            pairs_per_epoch=80_000,
        ),
        Preset(
            name="mast3r-512",
            config=NetworkConfig(
                head="catmlp+dpt", descriptor_size=24, descriptor_confidence_mode=("exp", 0.0, math.inf)
            ),
            start="512-dpt",
            sizes=_RATIOS_512,
            schedule=Schedule(warmup=8.0, epochs=50.0),
            batch_size=4,
            accumulation=2,
            pairs_per_epoch=650_000,
            criterion=MatchingLoss(),
        ),
        Preset(
            name="mini-128",
            config=MiniConfig(),
            start="",
            sizes=((128, 128), (128, 96), (96, 128)),
            schedule=Schedule(peak=1e-3, floor=1e-5, warmup=1.5, epochs=45.0),
            batch_size=512,
            **_MINI,
        ),
        Preset(
            name="mini",
            config=MiniConfig(),
            start="mini-128",
            sizes=((224, 224), (224, 176), (224, 160), (224, 128), (176, 224), (160, 224)),
            schedule=Schedule(peak=5e-4, floor=1e-6, warmup=0.5, epochs=20.0),
            batch_size=192,
            **_MINI,
        ),
    )
}
"""By name, in the order they follow each other."""
