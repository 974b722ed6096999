"""The stages of DUSt3R's recipe, as released with its code (its README's training commands; the paper's appendix gives
other lengths: 50 epochs of 700 000 pairs at 224, then 100 and 90 of 70 000 at 512)."""

from dataclasses import dataclass, field

from dust3r_sfm.network.config import NetworkConfig
from dust3r_sfm.training.losses import Confident, Criterion, InvariantRegression
from dust3r_sfm.training.schedule import Schedule
from dust3r_sfm.types import Size

_RATIOS_512: tuple[Size, ...] = ((512, 384), (512, 336), (512, 288), (512, 256), (512, 160))


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One stage of training.

    Attributes:
        name: what a user types.
        config: the network.
        start: what its weights start from when the user names nothing: a stage before it, or CroCo's file.
        sizes: (width, height) of the crops; every batch draws one.
        schedule: learning rate over the epochs.
        batch_size: pairs of one process in one pass, before they are made symmetric.
        accumulation: passes per optimiser step.
        pairs_per_epoch: of all sources together.
        criterion: what is minimised.
        validation: what chooses the best weights.
        weight_decay: of weight matrices.
        jitter: brightness, contrast, saturation and hue of the colour jitter.
    """

    name: str
    config: NetworkConfig
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
    )
}
"""By name, in the order they follow each other."""
