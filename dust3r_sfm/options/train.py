"""Options of training."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Training of a network."""

    preset: str = "224-linear"
    """Stage of the recipe: 224-linear, 512-linear, 512-dpt, mast3r-512; or of our small network: mini-128, mini."""
    data: Path | None = None
    """data.toml: the data sets to train on and to be judged by; see docs/training.md. The mini presets need
    none: theirs is a synthetic world."""
    textures: Path | None = None
    """Folder of photographs for the surfaces of the synthetic world, besides painted ones."""
    pairs_per_epoch: int | None = None
    """Pairs of the synthetic world in an epoch; default: the preset's."""
    start: str | None = None
    """Weights to start from: a file, folder, hub id or known name (CroCo, DUSt3R, a stage before); default: random."""
    resume: bool = False
    """Go on from OUT/checkpoint.pt, if there is one; the result is that of a run that was never stopped."""
    device: str = "auto"
    """auto, cpu, cuda; with torchrun each process takes its own GPU."""
    epochs: float | None = None
    """Length of the run; default: the preset's. The warm-up keeps its share."""
    learning_rate: float | None = None
    """Peak learning rate; default: the preset's."""
    batch_size: int | None = None
    """Pairs of one process in one pass; default: the preset's."""
    amp: bool = False
    """bfloat16 where it does not hurt."""
    average: float | None = None
    """Keep an exponential moving average of the weights with this decay, such as 0.999, and validate and write that."""
    compile: bool = False
    """torch.compile the network."""
    num_workers: int = 4
    """Threads that make batches."""
    save_every: int = 500
    """Steps between checkpoints."""
    seed: int = 0
    """Of the order of the data, crops, colour jitter and random start weights."""
